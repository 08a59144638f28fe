"""The update page as people meet it, in a browser: files good and bad, and boards that fail."""

import gzip
import random
import re

import boards
import data_files
import pytest
from chromium import PHONE
from device import APP
from mpota.image import data
from playwright.sync_api import Page, expect
from web_client import WebDevice
from web_site import WebSite, status

PASSWORD = "geheim"
expect.set_options(timeout=60_000)

# One chunk of an upload at a time, so that there is progress to be seen; and with room for a look
# at it meanwhile.
SLOW = {"step_ms": 0, "heap": "80k"}
SLOW_APP = re.sub(r"sleep_ms\(\d+\)", "sleep_ms(60)", APP)


def save(folder, name, data):
    """Save *data* as a file to be chosen."""
    path = folder / name
    path.write_bytes(data)
    return path


def release(device, *, ballast=0, app=None):
    """Return the next release, with so many bytes beside its application."""
    return device.next_image(app, {"ballast.bin": random.Random(1).randbytes(ballast)})


def choose(page: Page, path, form: str = "") -> None:
    page.set_input_files(f"#file{form}", path)


def said(page: Page):
    return page.locator("#say")


def fact(page: Page, name: str):
    return page.locator(f"dt:text-is('{name}') + dd")


@pytest.fixture(autouse=True)
def no_errors(browser):
    """See that the page's script has not failed."""
    browser.errors.clear()
    yield
    assert browser.errors == []


def test_an_update_is_chosen_sent_tried_and_confirmed(browser, tmp_path, is_accessible):
    with WebDevice(tmp_path, SLOW_APP, confirm_s=3, hostname="valves", **SLOW) as device:
        page = browser.open(device.url, viewport=PHONE, color_scheme="light")
        expect(page).to_have_title("small: update")
        for name, value in (
            ("Version", "1, sequence 1"),
            ("State", re.compile("^runs")),
            ("Slot", "a, 99.8 KB for an image"),
            ("Last update", "none is known"),
            ("Memory", re.compile(r"^\d+\.\d KB free$")),
            ("Firmware", re.compile(r"^MicroPython 1\.\d+\.\d+$")),
            ("On for", re.compile(r"^\d+ s$")),
            ("Address", f"valves, {device.board.ip}"),
        ):
            expect(fact(page, name)).to_have_text(value)
        expect(page.locator("#open")).to_be_visible()
        expect(page.locator("#go")).to_be_disabled()
        # A phone shows all of it without scrolling sideways.
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        is_accessible(page)
        page.screenshot(path=tmp_path / "begin.png", full_page=True)
        choose(page, save(tmp_path, "new.img", release(device, ballast=90_000, app=SLOW_APP)))
        expect(page.locator("#what")).to_have_text(
            re.compile(r"^small 2, sequence 2, 90\d+ bytes, fits\.$")
        )
        page.locator("#go").click()
        # What is shown is what the board has, which is less than the browser has sent.
        values = []
        while page.locator("#run").is_visible():
            values.append(page.locator("#bar").evaluate("bar => bar.value"))
            page.wait_for_timeout(100)
        assert len({value for value in values if 0 < value < 1}) >= 3
        assert values == sorted(values)
        expect(said(page)).to_have_text(re.compile(r"^1 → 2: on trial\."))
        expect(fact(page, "State")).to_have_text(re.compile(r"^on trial, \d+ s left$"))
        is_accessible(page)
        page.screenshot(path=tmp_path / "trial.png", full_page=True)
        expect(said(page)).to_have_text("1 → 2: confirmed.")
        expect(fact(page, "Last update")).to_have_text("confirmed: 2")
        is_accessible(page)
        page.screenshot(path=tmp_path / "end.png", full_page=True)


def test_a_board_that_asks_a_server_shows_how_that_ended(browser, tmp_path):
    with WebSite() as site:
        url = site.add("/", status("304 Not Modified"))
        with WebDevice(tmp_path, update_url=url, update_interval_s=1) as device:
            device.board.wait_for("pull: no update")
            page = browser.open(device.url)
            expect(fact(page, "Server")).to_have_text(re.compile(r"^\d+ s ago: no update$"))


def test_a_file_can_be_dropped_and_a_browser_keeps_its_password_over_the_restart(
    browser, tmp_path, is_accessible
):
    settings = {"web_password": PASSWORD, "confirm_s": 1}
    with WebDevice(tmp_path, **settings) as device:
        page = browser.open(device.url, password=PASSWORD, color_scheme="dark")
        expect(fact(page, "Version")).to_have_text("1, sequence 1")
        expect(page.locator("#open")).to_be_hidden()
        is_accessible(page)
        page.screenshot(path=tmp_path / "dark.png", full_page=True)
        for version in (2, 3):
            data = release(device)
            held = page.evaluate_handle(
                """(bytes) => {
                    const held = new DataTransfer();
                    held.items.add(new File([new Uint8Array(bytes)], "new.img"));
                    return held;
                }""",
                list(data),
            )
            page.dispatch_event("#drop", "dragover", {"dataTransfer": held})
            assert page.locator("#drop").get_attribute("class") == "over"
            page.dispatch_event("#drop", "drop", {"dataTransfer": held})
            expect(page.locator("#what")).to_contain_text(f"small {version}, sequence {version}")
            page.locator("#go").click()
            expect(said(page)).to_have_text(f"{version - 1} → {version}: confirmed.")
        lines = device.board.lines
        assert not [line for line in lines if "authentication failed" in line]


def test_a_wrong_password_shows_no_page(browser, tmp_path):
    with WebDevice(tmp_path, web_password=PASSWORD) as device:
        page = browser.open(device.url, password="guess")
        assert page.locator("body").inner_text().strip() in (
            "wrong user or password", "wrong passwords; try again in 1 s",
        )  # fmt: skip
        page = browser.open(device.url, password=PASSWORD)
        expect(fact(page, "Version")).to_have_text("1, sequence 1")


def test_what_the_board_would_refuse_is_told_before_it_is_sent(browser, tmp_path):
    with WebDevice(tmp_path) as device:
        page = browser.open(device.url)
        expect(fact(page, "Version")).to_be_visible()
        said_requests = device.said
        small = device.image()
        large = device.image(files={"data.bin": random.Random(2).randbytes(110_000)})
        other = boards.application_image(
            {"app.py": b"x = 1\n"}, name="other", version="7", sequence=9
        )
        for name, data, text, is_good in (
            ("photo.jpg", b"\xff\xd8\xff" + bytes(900), "photo.jpg, 903 bytes: not an application "
             "image; 'mpota pack' makes one.", False),
            ("empty", b"", "empty, 0 bytes: the file is empty.", False),
            ("fw.bin", b"\xe9" + bytes(600_000), "firmware or an Arduino sketch", False),
            ("a.img.gz", b"\x1f\x8b" + bytes(100), "a gzip, which the board unpacks", True),
            ("huge.gz", b"\x1f\x8b" + bytes(110_000), "too large", False),
            ("large.img", large, "too large, a slot takes 102144 bytes", False),
            ("huge.bin", bytes(3_000_000), "huge.bin, 3000000 bytes: not an application", False),
            ("d.tar", data_files.tar_image(), "a tar, files for /data. Choose it below.", False),
            ("d.bin", data_files.littlefs_image(), "a littlefs, files for /data.", False),
            ("same.img", small, "fits. This release runs already.", True),
            ("other.img", other, "fits. The board runs another application, small.", True),
            ("next.img", device.next_image(), "small 2, sequence 2", True),
        ):  # fmt: skip
            choose(page, save(tmp_path, name, data))
            expect(page.locator("#what")).to_contain_text(text)
            go = expect(page.locator("#go"))
            go.to_be_enabled() if is_good else go.to_be_disabled()
        assert not any("announced" in line for line in device.board.lines[said_requests:])
        # What only the board can tell is told in its words; and the page is ready for another file.
        choose(page, tmp_path / "other.img")
        page.locator("#go").click()
        expect(said(page)).to_have_text(re.compile(r"^Refused: ERROR\[44\]: Image is for another"))
        broken = bytearray(device.image())
        broken[-1] ^= 1
        choose(page, save(tmp_path, "broken.img", bytes(broken)))
        expect(said(page)).to_have_text("")
        page.locator("#go").click()
        expect(said(page)).to_have_text(re.compile(r"^Refused: ERROR\[37\]: Image is truncated"))
        page.screenshot(path=tmp_path / "refused.png", full_page=True)


def test_data_are_chosen_sent_tried_and_confirmed(browser, tmp_path, is_accessible):
    files = {"v.txt": b"1", "fonts/a.bin": bytes(range(256)) * 80}
    with WebDevice(tmp_path, confirm_s=1, web_password=PASSWORD, heap="80k") as device:
        page = browser.open(device.url, password=PASSWORD, viewport=PHONE)
        expect(fact(page, "Version")).to_have_text("1, sequence 1")
        expect(fact(page, "/data")).to_be_hidden()
        for name, kind in (("data.tar", data.TAR), ("data.bin", data.LITTLEFS)):
            made = data.build(files, kind)
            choose(page, save(tmp_path, name, made), "2")
            what = page.locator("#what2")
            expect(what).to_have_text(
                f"{name}, {len(made)} bytes: a {kind}. It replaces all files in /data."
            )
            expect(page.locator("#go")).to_be_disabled()
            # Which of the two buttons does something can be seen.
            first, second = (
                page.locator(f"#go{form}").evaluate("it => getComputedStyle(it).backgroundColor")
                for form in ("", "2")
            )
            assert first == "rgba(0, 0, 0, 0)" != second
            is_accessible(page)
            page.screenshot(path=tmp_path / "data.png", full_page=True)
            page.locator("#go2").click()
            expect(said(page)).to_have_text(f"{name}: confirmed.")
            expect(fact(page, "Last update")).to_have_text("confirmed: data")
            expect(fact(page, "/data")).to_have_text(f"from the image {data.digest(made)[:8]}…")
            choose(page, tmp_path / name, "2")
            expect(what).to_contain_text("These files are there already.")
        assert device.files()["/data/v.txt"] == b"1"
        # The other form is for the application, as before.
        choose(page, save(tmp_path, "new.img", release(device)))
        expect(page.locator("#what")).to_contain_text("small 2, sequence 2")
        expect(page.locator("#what2")).to_have_text("")
        expect(page.locator("#go2")).to_be_disabled()
        page.locator("#go").click()
        expect(said(page)).to_have_text("1 → 2: confirmed.")


def test_data_that_the_application_does_not_stand_are_told_to_be_taken_back(browser, tmp_path):
    app = "import os\n" + APP.replace(
        "    print(",
        "    if 'data' in os.listdir('/'): raise ValueError('no calibration')\n    print(",
    )
    with WebDevice(tmp_path, app) as device:
        page = browser.open(device.url)
        expect(fact(page, "Version")).to_be_visible()
        choose(page, save(tmp_path, "data.tar", data.build({"a": b"1"}, data.TAR)), "2")
        page.locator("#go2").click()
        expect(said(page)).to_have_text(
            re.compile(r"^data\.tar did not stay: taken back: data: raised ValueError.* 1 runs\.$")
        )
        expect(page.locator("#go2")).to_have_text("Try again")


def test_files_that_are_no_data_are_told_before_they_are_sent(browser, tmp_path):
    with WebDevice(tmp_path) as device:
        page = browser.open(device.url)
        expect(fact(page, "Version")).to_be_visible()
        start = device.said
        for name, content, text, is_good in (
            ("d.tar", data_files.tar_image(), "a tar. It replaces", True),
            ("d.bin", data_files.images()["2.0-8192-mklittlefs"], "a littlefs. It replaces", True),
            ("d.tar.gz", gzip.compress(data_files.tar_image()), "a gzip. It replaces", True),
            ("d.zip", b"PK\3\4" + bytes(900), "a zip. /data takes a tar or a littlefs", False),
            ("s.bin", data_files.spiffs_image(), "SPIFFS. /data takes a tar", False),
            ("f.img", data_files.fat_image(), "FAT. /data takes a tar", False),
            ("a.img", device.image(), "an application. /data takes a tar", False),
            ("x", b"text" * 300, "not a data image. /data takes a tar", False),
            ("empty", b"", "empty, 0 bytes: the file is empty.", False),
        ):  # fmt: skip
            choose(page, save(tmp_path, name, content), "2")
            expect(page.locator("#what2")).to_contain_text(text)
            go = expect(page.locator("#go2"))
            go.to_be_enabled() if is_good else go.to_be_disabled()
        assert not any("announced" in line for line in device.board.lines[start:])
        # What only the board can tell is told in its words.
        bad = data_files.tar_image({"../boot.py": b"x"})
        choose(page, save(tmp_path, "bad.tar", bad), "2")
        page.locator("#go2").click()
        expect(said(page)).to_have_text(
            re.compile(r"^Refused: ERROR\[47\]: Bad data image: the na")
        )


def test_a_trial_is_ended_by_its_buttons(browser, tmp_path):
    with WebDevice(tmp_path, confirm_s=3600) as device:
        page = browser.open(device.url, viewport=PHONE)
        page.on("dialog", lambda dialog: dialog.accept())
        expect(fact(page, "Version")).to_have_text("1, sequence 1")
        choose(page, save(tmp_path, "new.img", release(device)))
        page.locator("#go").click()
        page.get_by_role("button", name="Keep this version").click()
        expect(said(page)).to_have_text("1 → 2: confirmed.")
        # The keyboard does it as well.
        page.get_by_role("button", name="Back to version 1").focus()
        page.keyboard.press("Enter")
        expect(fact(page, "Version")).to_have_text("1, sequence 1")
        expect(fact(page, "State")).to_have_text(re.compile("^on trial"))
        page.get_by_role("button", name="Keep this version").click()
        expect(fact(page, "Last update")).to_have_text("confirmed: 1")
        choose(page, save(tmp_path, "new.img", release(device)))
        page.locator("#go").click()
        page.get_by_role("button", name="Take this version back").click()
        expect(said(page)).to_have_text(
            "3 did not stay: taken back: 3: the owner wished it. 1 runs."
        )
        expect(page.get_by_role("button", name="Back to")).to_be_hidden()
        page.get_by_role("button", name="Restart").click()
        device.board.wait_for("web: restart")


def test_a_version_that_fails_is_told_with_its_reason(browser, tmp_path):
    with WebDevice(tmp_path) as device:
        page = browser.open(device.url)
        broken = APP.replace("    while True:", "    raise ValueError('no sensor')")
        broken = broken[: broken.index("sensor')") + 8] + "\n"
        choose(page, save(tmp_path, "new.img", release(device, app=broken)))
        page.locator("#go").click()
        expect(said(page)).to_contain_text("2 did not stay: taken back: 2: raised ValueError")
        expect(said(page)).to_contain_text("1 runs.")
        expect(said(page)).to_have_class("bad")


def test_a_connection_that_is_lost_half_way_is_told_and_the_file_kept(browser, tmp_path):
    with WebDevice(tmp_path, SLOW_APP, confirm_s=1, **SLOW) as device:
        page = browser.open(device.url)
        expect(fact(page, "Version")).to_be_visible()
        data = release(device, ballast=90_000, app=SLOW_APP)
        path = save(tmp_path, "new.img", data)
        choose(page, path)
        start = device.said
        page.locator("#go").click()
        device.board.wait_for("announced", start=start)
        while page.locator("#bar").evaluate("bar => bar.value") < 0.2:
            page.wait_for_timeout(50)
        device.board.power_off()
        expect(said(page)).to_have_text(re.compile("^The connection was lost"))
        page.screenshot(path=tmp_path / "lost.png", full_page=True)
        path.unlink()  # the page has all of it
        device.board.power_on()
        device.board.wait_for("web: http", start=device.said)
        page.get_by_role("button", name="Try again").click()
        expect(said(page)).to_have_text("1 → 2: confirmed.")


def test_an_answer_that_breaks_off_counts_as_none(browser, tmp_path):
    with WebDevice(tmp_path) as device:
        page = browser.open(device.url)
        expect(fact(page, "Version")).to_be_visible()
        page.route("**/update/status", lambda route: route.fulfill(body='{"version": "1", "st'))
        page.evaluate("poll(0)")
        expect(said(page)).to_have_text("The board does not answer.")
        page.unroute("**/update/status")
        page.evaluate("poll(0)")
        expect(said(page)).to_have_text("")


def test_an_update_that_needs_the_applications_memory_is_sent_again_by_itself(browser, tmp_path):
    hungry = APP.replace("    print(", "    kept = bytearray(24000)\n    print(")
    settings = {"web_password": PASSWORD, "confirm_s": 1}
    with WebDevice(tmp_path, hungry, **settings) as device:
        page = browser.open(device.url, password=PASSWORD)
        expect(fact(page, "Version")).to_be_visible()
        choose(page, save(tmp_path, "new.img", release(device, app=APP)))
        start = device.said
        page.locator("#go").click()
        expect(said(page)).to_contain_text("the board restarts to make room")
        device.board.wait_for("the services run alone, for one update", start=start)
        expect(said(page)).to_have_text("1 → 2: confirmed.")


def test_a_gzip_is_followed_to_its_end(browser, tmp_path):
    with WebDevice(tmp_path, confirm_s=1) as device:
        page = browser.open(device.url)
        expect(fact(page, "Version")).to_have_text("1, sequence 1")
        choose(page, save(tmp_path, "new.img.gz", gzip.compress(release(device))))
        page.locator("#go").click()
        expect(said(page)).to_have_text("1 → new.img.gz: confirmed.")
        expect(fact(page, "Version")).to_have_text("2, sequence 2")


def test_an_update_that_waits_for_the_next_restart_says_so(browser, tmp_path):
    with WebDevice(tmp_path, reboot_on_success=False) as device:
        page = browser.open(device.url)
        page.on("dialog", lambda dialog: dialog.accept())
        expect(fact(page, "Version")).to_have_text("1, sequence 1")
        choose(page, save(tmp_path, "new.img", release(device)))
        page.locator("#go").click()
        expect(said(page)).to_have_text("Update Success! It is tried after the next restart.")
        device.board.wait_for("update ended")
        page.get_by_role("button", name="Restart").click()
        expect(fact(page, "Version")).to_have_text("2, sequence 2")


def test_without_javascript_the_form_alone_updates(browser, tmp_path):
    with WebDevice(tmp_path) as device:
        page = browser.open(device.url, java_script_enabled=False)
        expect(page.locator("#go")).to_be_enabled()
        page.screenshot(path=tmp_path / "plain.png", full_page=True)
        choose(page, save(tmp_path, "new.img", release(device)))
        start = device.said
        page.locator("#go").click()
        expect(page.locator("body")).to_contain_text("Update Success! Rebooting...")
        device.confirmed(start)
        page.goto(device.url)
        choose(page, save(tmp_path, "data.tar", data.build({"a": b"1"}, data.TAR)), "2")
        start = device.said
        page.locator("#go2").click()
        expect(page.locator("body")).to_contain_text("Update Success! Rebooting...")
        device.board.wait_for("is confirmed", start=start)
        assert device.files()["/data/a"] == b"1"


def test_the_page_is_small_and_asks_nobody_else(browser, tmp_path, record_property):
    with WebDevice(tmp_path) as device:
        asked = []
        page = browser.open("about:blank")
        page.on("request", lambda request: asked.append(request.url))
        page.goto(device.url)
        expect(fact(page, "Version")).to_be_visible()
        assert {url.removeprefix(device.url) for url in asked if not url.startswith("data:")} <= {
            "", "/status",
        }  # fmt: skip
        size = device.curl("-H", "Accept-Encoding: gzip").headers["content-length"]
        record_property("the page, as sent", f"{size} bytes")
        assert int(size) <= 6 * 1024
        # No attribute hides files in a phone's chooser.
        assert page.locator("#file").get_attribute("accept") is None


def test_two_windows_do_not_disturb_each_other(browser, tmp_path):
    with WebDevice(tmp_path, confirm_s=1) as device:
        pages = [browser.open(device.url) for _ in range(3)]
        for page in pages:
            expect(fact(page, "Version")).to_be_visible()
        choose(pages[0], save(tmp_path, "new.img", release(device)))
        pages[0].locator("#go").click()
        expect(said(pages[0])).to_have_text("1 → 2: confirmed.")
