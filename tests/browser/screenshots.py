"""Make the pictures of the update page for the README: `make screenshots`."""

import sys
import tempfile
from pathlib import Path

import boards
from chromium import PHONE, Browser
from mpota.image.directory import pack_directory
from mpota.sim.rom import ARCHITECTURE
from playwright.sync_api import expect, sync_playwright


def main() -> int:
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        first, second = (
            pack_directory(boards.GARDEN / version, architecture=ARCHITECTURE).data
            for version in ("1.0.0", "2.0.0")
        )
        image = folder / "garden-2.img"
        image.write_bytes(second)
        settings = {"web": True, "web_password": "geheim", "hostname": "garden", "confirm_s": 3600}
        browser = Browser(playwright, folder / "chromium")
        with boards.board_with(folder, first, **settings) as board:
            board.wait_for("web: http")
            url = f"http://{board.ip}/update"
            page = browser.open(
                url, password="geheim", viewport={**PHONE, "height": 660}, color_scheme="light"
            )
            expect(page.locator("dd").first).to_be_visible()
            page.set_input_files("#file", image)
            expect(page.locator("#what")).to_contain_text("fits")
            page.screenshot(path=target / "page-phone.png", full_page=True)
            page.locator("#go").click()
            expect(page.locator("#say")).to_contain_text("on trial")
            dark = browser.open(
                url, password="geheim", viewport={"width": 640, "height": 620}, color_scheme="dark"
            )
            expect(dark.locator("#confirm")).to_be_visible()
            dark.screenshot(path=target / "page-dark.png", full_page=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
