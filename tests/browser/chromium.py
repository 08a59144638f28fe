"""A Chromium that looks at a board's update page."""

import shutil
from pathlib import Path

from playwright.sync_api import Page, Playwright

_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


class Browser:
    """Debian's Chromium, started by *playwright* with a profile of its own."""

    def __init__(self, playwright: Playwright, profile: Path) -> None:
        self._browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[*_ARGUMENTS, f"--crash-dumps-dir={profile}"],
        )
        self.errors: list[str] = []

    def close(self) -> None:
        self._browser.close()

    def open(self, url: str, *, password: str = "", viewport: dict | None = None,
             **options: object) -> Page:  # fmt: skip
        """Open *url* in a window that knows nothing yet but *password*."""
        if password:
            options["http_credentials"] = {"username": "mpota", "password": password}
        context = self._browser.new_context(viewport=viewport or DESKTOP, **options)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        return page
