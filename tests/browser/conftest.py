"""The update page in Debian's Chromium, driven by Playwright's client; axe-core judges the page.

Every test leaves its screenshots in its `tmp_path`, which pytest keeps for three runs.
"""

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser
from playwright.sync_api import Page, sync_playwright

_AXE = Path(".venv/axe/node_modules/axe-core/axe.min.js")
_INSTALL = "make test installs what the tests in a browser need"


@functools.cache
def _axe(root: Path) -> str:
    return (root / _AXE).read_text()


@pytest.fixture(scope="module")
def browser(request, tmp_path_factory) -> Iterator[Browser]:
    """Yield a Chromium; its event loop ends with the module, since other tests have their own."""
    if not shutil.which("chromium"):
        pytest.skip(f"there is no chromium: {_INSTALL}")
    with sync_playwright() as playwright:
        browser = Browser(playwright, tmp_path_factory.mktemp("chromium"))
        yield browser
        browser.close()


@pytest.fixture
def is_accessible(request):
    """Return a function that lets axe-core look at a page, and fails on whatever it finds."""
    if not (request.config.rootpath / _AXE).exists():
        pytest.skip(f"there is no axe-core: {_INSTALL}")

    def look(page: Page) -> None:
        page.evaluate(_axe(request.config.rootpath))
        found = page.evaluate("axe.run()")
        assert not found["violations"], [
            (v["id"], v["help"], [node["html"] for node in v["nodes"]]) for v in found["violations"]
        ]
        assert not [i for i in found["incomplete"] if i["id"] != "color-contrast"]
        assert len(found["passes"]) > 10

    return look
