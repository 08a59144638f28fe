"""The server's page in a browser: what it shows while boards ask, by keyboard, on a phone."""

import pytest
import sqlalchemy as sa
from asking import Desk, board_headers, release_image
from chromium import PHONE
from mpota.server import accounts
from mpota.server.database import Board, Database, Operator
from mpota.server.decision import Phase
from playwright.sync_api import Page, expect
from serving import Serving

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Yield a server with a roll-out that has come to some of 30 boards, and its desk."""
    folder = tmp_path_factory.mktemp("server")
    with Serving(folder, "--unknown", "accept") as server:
        database = Database(f"sqlite:///{folder / 'server.db'}")
        desk = Desk(database, folder)
        with database.writing() as session:
            operator = session.scalars(sa.select(Operator)).one()
            accounts.change_password(session, operator.id, PASSWORD)
        # It goes on, whatever of its end the server sees while the boards below tell it.
        phases = (Phase(60, 3600), Phase())
        desk.roll_out(desk.add(release_image(2)), phases=phases, abort_minimum=1000)
        for number in range(30):
            if desk.ask(board_headers(number)).status == 200:
                if number % 6 == 1:
                    desk.ask(board_headers(number, outcome="taken back: 2: it hung"))
                elif number % 6:
                    desk.ask(board_headers(number, sequence=2, outcome="confirmed: 2"))
        desk.reception.flush()
        with database.writing() as session:
            session.execute(sa.update(Board).where(Board.mac.like("%5")).values(group_name="lab"))
        yield server, desk
        database.close()


def log_in(browser, server, **options) -> Page:
    page = browser.open(f"http://127.0.0.1:{server.port}/", **options)
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Fleet")).to_be_visible()
    return page


@pytest.fixture(autouse=True)
def no_errors(browser):
    """See that the page's script has not failed."""
    browser.errors.clear()
    yield
    assert browser.errors == []


def test_every_page_is_accessible_light_and_dark(browser, fleet, is_accessible):
    server, _ = fleet
    page = browser.open(f"http://127.0.0.1:{server.port}/")
    is_accessible(page)
    paths = ("/", "/boards", "/boards/5CCF7F000001", "/releases", "/rollouts/1",
             "/rollouts/new?release=1", "/audit", "/password", "/boards/none")  # fmt: skip
    for scheme, looked_at in (("light", paths), ("dark", paths[4:5])):
        page = log_in(browser, server, color_scheme=scheme)
        for path in looked_at:
            page.goto(f"http://127.0.0.1:{server.port}{path}")
            is_accessible(page)


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, fleet):
    server, _ = fleet
    page = log_in(browser, server, viewport=PHONE)
    for path in ("/", "/boards", "/boards/5CCF7F000001", "/releases", "/rollouts/1"):
        page.goto(f"http://127.0.0.1:{server.port}{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def test_the_page_follows_what_boards_tell_without_being_loaded_anew(browser, fleet):
    server, desk = fleet
    page = log_in(browser, server)
    page.goto(f"http://127.0.0.1:{server.port}/rollouts/1")
    before = page.locator(".legend .confirmed").first.inner_text()
    page.evaluate("window.isThis = true")
    number = next(n for n in range(100, 200) if desk.ask(board_headers(n)).status == 200)
    desk.ask(board_headers(number, sequence=2, outcome="confirmed: 2"))
    expect(page.locator(".legend .confirmed").first).not_to_have_text(before)
    assert page.evaluate("window.isThis")


def test_a_roll_out_is_paused_and_resumed_by_keyboard_alone(browser, fleet):
    server, _ = fleet
    page = log_in(browser, server)
    page.goto(f"http://127.0.0.1:{server.port}/rollouts/1")
    pause = page.get_by_role("button", name="Pause")
    for _ in range(60):
        page.keyboard.press("Tab")
        if pause.evaluate("button => button === document.activeElement"):
            break
    expect(pause).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("h1")).to_contain_text("running")


def test_what_is_withdrawn_is_asked_about_first(browser, fleet):
    server, desk = fleet
    release = desk.add(release_image(7))
    page = log_in(browser, server)
    page.goto(f"http://127.0.0.1:{server.port}/releases")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Withdraw garden 7.0.0").click()
    assert asked and "7.0.0" in asked[0]
    expect(page.get_by_role("link", name="Roll out garden 7.0.0")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Withdraw garden 7.0.0").click()
    expect(page.get_by_role("link", name="Roll out garden 7.0.0")).to_have_count(0)
    assert release.version == "7.0.0"


def test_the_server_ends_while_somebody_looks_at_it(browser, tmp_path):
    with Serving(tmp_path) as server:
        database = Database(f"sqlite:///{tmp_path / 'server.db'}")
        with database.writing() as session:
            operator = session.scalars(sa.select(Operator)).one()
            accounts.change_password(session, operator.id, PASSWORD)
        database.close()
        page = log_in(browser, server)
        page.wait_for_function("performance.getEntriesByName(location.origin + '/events')")
        server.process.terminate()
        server.process.wait(60)
        assert server.process.returncode == 0
        # One that does not end by itself is killed, and says nothing more.
        server.wait_for("the worker has ended")
