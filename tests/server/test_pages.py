"""The page for operators, as a browser without scripts sees it: log in, look, change."""

import hashlib
import re
import threading
import time

import pytest
import sqlalchemy as sa
from asking import board_headers, release_image
from data_files import tar_image
from mpota.server import accounts, logins, views
from mpota.server.app import Server
from mpota.server.database import Audit, Board, LoginSession, Operator
from mpota.server.options import Options
from mpota.server.run import prepare
from starlette.testclient import TestClient

PASSWORD = "a new password"


class Site:
    """A server's page, and whoever looks at it."""

    def __init__(self, folder):
        options = Options(str(folder))
        self.first_password = prepare(options)
        self.server = Server(options)
        self.client = TestClient(self.server.application(), follow_redirects=False)

    def get(self, path):
        return self.client.get(path)

    def post(self, path, csrf=None, files=None, **values):
        if csrf is None:
            found = re.search(r'name="csrf" value="([^"]+)"', self.get("/password").text)
            csrf = found[1] if found else ""
        return self.client.post(path, data={"csrf": csrf} | values, files=files)

    def log_in(self, password=PASSWORD, name="admin"):
        return self.client.post("/login", data={"name": name, "password": password})

    def ask(self, *arguments, **told):
        return self.client.get("/update", headers=board_headers(*arguments, **told)).status_code


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path / "server")
    with site.client:
        yield site


@pytest.fixture
def logged_in(site):
    site.log_in(site.first_password)
    assert site.post("/password", password=PASSWORD, again=PASSWORD).status_code == 303
    assert site.log_in().headers["location"] == "/"
    return site


PATHS = ["/", "/boards", "/boards/5CCF7F000001", "/releases", "/rollouts/1", "/rollouts/new",
         "/audit", "/password"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_or_done_before_somebody_logs_in(site, path):
    assert site.get(path).headers["location"] == "/login"
    assert site.get("/events").status_code == 401
    assert site.post("/rollouts/1", csrf="", do="pause").headers["location"] == "/login"


def test_the_first_password_must_be_changed_and_the_new_one_is_asked_for_twice(site):
    assert site.log_in("wrong password").status_code == 403
    assert site.log_in(site.first_password).status_code == 303
    assert site.get("/").headers["location"] == "/password"
    assert site.post("/password", password=PASSWORD, again="another").status_code == 400
    assert "10 characters" in site.post("/password", password="short", again="short").text
    assert site.post("/password", password=PASSWORD, again=PASSWORD).status_code == 303
    assert site.get("/").headers["location"] == "/login"
    assert site.log_in(site.first_password).status_code == 403
    assert site.log_in().status_code == 303 and site.get("/").status_code == 200


def test_the_cookie_is_for_the_browser_alone_and_ends_with_the_login(logged_in):
    said = logged_in.log_in().headers["set-cookie"].lower()
    assert "httponly" in said and "samesite=strict" in said
    cookie = dict(logged_in.client.cookies)
    assert logged_in.post("/logout").headers["location"] == "/login"
    logged_in.client.cookies.update(cookie)
    assert logged_in.get("/").headers["location"] == "/login"


def test_a_login_ends_with_its_time(logged_in, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 11 * 3600)
    assert logged_in.get("/").status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + 13 * 3600)
    assert logged_in.get("/").headers["location"] == "/login"


def test_passwords_are_kept_as_argon2_and_nothing_that_opens_a_door_is_kept_as_it_is(logged_in):
    cookie = logged_in.client.cookies["mpota_session"]
    with logged_in.server.database.reading() as session:
        (operator,) = session.scalars(sa.select(Operator))
        (login,) = session.scalars(sa.select(LoginSession))
        assert operator.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert login.token_sha256 == hashlib.sha256(cookie.encode()).hexdigest()


def test_after_a_minute_a_password_is_looked_at_again(monkeypatch):
    throttle = logins.Throttle()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(5):
        assert throttle.wait_s("admin", "10.0.0.1") == 0
        throttle.fail("admin", "10.0.0.1")
    assert throttle.wait_s("admin", "10.0.0.1") == 60
    assert throttle.wait_s("admin", "10.0.0.2") == throttle.wait_s("eve", "10.0.0.1") == 0
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert throttle.wait_s("admin", "10.0.0.1") == 0


def test_who_guesses_passwords_of_many_names_has_to_wait(monkeypatch):
    throttle = logins.Throttle()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for number in range(30):
        assert throttle.wait_s(f"eve{number}", "10.0.0.1") == 0
        throttle.fail(f"eve{number}", "10.0.0.1")
    assert throttle.wait_s("admin", "10.0.0.1") == 60
    assert throttle.wait_s("admin", "10.0.0.2") == 0


def test_two_passwords_are_checked_at_a_time_and_nobody_else_waits_for_them(site, monkeypatch):
    release, is_full = threading.Event(), threading.Event()
    going_on, most = [], []

    def check(session, name, password):
        going_on.append(name)
        most.append(len(going_on))
        if len(going_on) >= 2:
            is_full.set()
        release.wait(60)
        going_on.remove(name)

    monkeypatch.setattr(accounts, "check", check)
    strangers = [threading.Thread(target=site.log_in, args=("?", f"eve{n}")) for n in range(12)]
    for stranger in strangers:
        stranger.start()
    assert is_full.wait(60)
    assert site.get("/").headers["location"] == "/login"
    release.set()
    for stranger in strangers:
        stranger.join()
    assert max(most) == 2


def test_no_file_is_read_where_somebody_logs_in(site):
    values = {"name": "admin", "password": site.first_password}
    for size in (10, 4 << 20):
        reply = site.client.post("/login", data=values, files={"image": ("x", bytes(size))})
        assert reply.status_code == 400 and "set-cookie" not in reply.headers


def test_logins_and_wrong_passwords_are_in_the_audit_and_do_not_fill_it(logged_in, monkeypatch):
    monkeypatch.setattr(logins, "_WRONG_KEPT", 2)
    for name in ("eve", "eve", "mallory"):
        logged_in.log_in("wrong password", name)
    with logged_in.server.database.reading() as session:
        rows = session.scalars(sa.select(Audit).order_by(Audit.id.desc()).limit(3)).all()
    assert [(row.operator, row.what, row.target) for row in rows] == [
        ("", "wrong password", "mallory"),
        ("", "wrong password", "eve"),
        ("admin", "logged in", ""),
    ]


def test_who_guesses_passwords_has_to_wait(site):
    said = [site.log_in("wrong password").text for _ in range(6)]
    assert "wait a minute" in said[5] and "wait a minute" not in said[4]
    assert "wait a minute" in site.log_in(site.first_password).text


@pytest.mark.parametrize("csrf", ["", "x" * 32, "ä"])
def test_a_form_of_another_site_does_nothing(logged_in, csrf):
    logged_in.ask(1)
    reply = logged_in.post("/boards/5CCF7F000001", csrf=csrf, do="state", state="accepted")
    assert reply.status_code == 403
    assert "pending" in logged_in.get("/boards").text
    reply = logged_in.client.post(
        "/login", data={"name": "admin", "password": PASSWORD},
        headers={"Sec-Fetch-Site": "cross-site"},
    )  # fmt: skip
    assert reply.status_code == 403 and "set-cookie" not in reply.headers


def test_nothing_comes_from_elsewhere_and_no_other_site_may_frame_it(logged_in):
    reply = logged_in.get("/")
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    for path in PATHS[:3] + ["/static/page.js", "/static/page.css"]:
        assert not re.search(r"(src|href|url)\W{1,3}(https?:)?//", logged_in.get(path).text)


def test_a_release_comes_from_the_upload_to_boards_and_the_roll_out_is_paused(logged_in):
    site = logged_in
    assert site.ask(1) == 304
    site.post("/boards/5CCF7F000001", do="state", state="accepted")
    file = {"image": ("garden.img", release_image(2))}
    assert site.post("/releases", files=file, channel="stable").status_code == 303
    assert "2.0.0" in site.get("/releases").text
    assert "garden 2.0.0" in site.get("/rollouts/new?release=1").text
    fields = {"percent": "100", "soak_min": "60", "abort_percent": "20", "abort_minimum": "5"}
    reply = site.post("/rollouts/new", release="1", group="", at_once="", **fields)
    assert reply.headers["location"] == "/rollouts/1"
    assert site.ask(1) == 200
    assert site.ask(1, outcome="taken back: 2: <b>it hung</b>") == 304
    text = site.get("/rollouts/1").text
    assert "1 taken back" in text and "&lt;b&gt;it hung&lt;/b&gt;" in text
    assert '<svg class="bars"' in text
    for move, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        site.post("/rollouts/1", do=move)
        assert f">{state}</span>" in site.get("/rollouts/1").text
    written = r"cancelled by admin, [-0-9]{10} [0-9]{2}:[0-9]{2} \w+"  # with the time zone
    assert re.search(written, site.get("/rollouts/1").text)
    assert site.post("/rollouts/1", do="resume").status_code == 409
    assert "roll-out cancelled" in site.get("/audit").text
    assert "it hung" in site.get("/boards/5CCF7F000001").text


def test_data_are_uploaded_rolled_out_and_shown(logged_in):
    site = logged_in
    site.ask(1)
    site.post("/boards/5CCF7F000001", do="state", state="accepted")
    file = {"image": ("pages.tar", tar_image())}
    said = site.post("/releases", files=file)
    assert said.status_code == 400 and "data image, which does not say its" in said.text
    assert site.post("/releases", files=file, application="garden", version="7").status_code == 303
    assert "garden data 7" in site.get("/releases").text
    fields = {"percent": "100", "soak_min": "", "abort_percent": "", "abort_minimum": ""}
    assert site.post("/rollouts/new", release="1", **fields).headers["location"] == "/rollouts/1"
    asks = {"x_ESP8266_mode": "spiffs", "x_mpota_data": ""}
    assert site.ask(1, **asks) == 200
    digest = hashlib.sha256(tar_image()).hexdigest()
    assert site.ask(1, **asks | {"x_mpota_data": digest[:32]}) == 304
    assert "garden data 7" in site.get("/rollouts/1").text
    assert digest[:16] in site.get("/boards/5CCF7F000001").text
    assert "1 confirmed" in site.get("/rollouts/1").text


def test_a_board_keeps_its_pin_to_a_withdrawn_release_when_something_else_is_saved(logged_in):
    site = logged_in
    site.ask(1)
    for sequence in (2, 3):
        site.post("/releases", files={"image": ("x.img", release_image(sequence))})
    path = "/boards/5CCF7F000001"
    site.post(path, state="accepted", channel="stable", pin="1")
    site.post("/releases/1", do="withdraw")
    text = site.get(path).text
    (pin,) = re.findall(r'<option value="(\d+)" selected>garden 2.0.0</option>', text)
    assert site.post(path, state="accepted", label="well", pin=pin).status_code == 303
    with site.server.database.reading() as session:
        board = session.scalars(sa.select(Board)).one()
        assert (board.label, board.pin_id) == ("well", 1)


@pytest.mark.parametrize(
    ("path", "limit", "names"),
    [("/releases", "_RELEASES", ["garden 4.0.0", "garden 3.0.0", "garden 2.0.0"]),
     ("/", "_ROLLOUTS", ["/rollouts/3", "/rollouts/2", "/rollouts/1"]),
     ("/audit", "_ENTRIES", [f"garden {n}.0.0: 100 %" for n in (4, 3, 2)])],
)  # fmt: skip
def test_every_entry_of_a_long_list_is_behind_a_link(logged_in, monkeypatch, path, limit, names):
    for number in (1, 2, 3):
        logged_in.post("/releases", files={"image": ("x.img", release_image(1 + number))})
        logged_in.post("/rollouts/new", release=str(number))
    monkeypatch.setattr(views, limit, 1)
    found = []
    while path:
        text = logged_in.get(path).text
        found += [name for name in names if re.search(rf"{name}\b|{name}<", text)]
        link = re.search(r'rel="next" href="([^"]+)"', text)
        path = link[1] if link else ""
    assert found == names


@pytest.mark.parametrize(
    ("path", "values", "status"),
    [("/boards/5CCF7F000009", {"do": "retry"}, 404), ("/boards/xyz", {"do": "retry"}, 400),
     ("/rollouts/9", {"do": "pause"}, 404), ("/rollouts/new", {"release": "9"}, 404),
     ("/rollouts/new", {"release": "x"}, 400), ("/releases", {}, 400),
     ("/releases/99999999999999999999", {"do": "withdraw"}, 404), ("/none", {}, 404),
     ("/rollouts/x", {"do": "pause"}, 404),
     ("/audit", {}, 405)],
)  # fmt: skip
def test_what_makes_no_sense_is_said_on_the_page(logged_in, path, values, status):
    reply = logged_in.post(path, **values)
    assert reply.status_code == status
    assert 'role="alert"' in reply.text


@pytest.mark.parametrize("name", ["my lab", "Gew\u00e4chshaus", "x" * 33])
@pytest.mark.parametrize(
    ("path", "fields", "values"),
    [("/boards/5CCF7F000001", ("group", "channel"), {"state": "accepted"}),
     ("/releases", ("application", "version", "channel"), {"application": "blink", "version": "1"}),
     ("/rollouts/new", ("group",), {"release": "1"})],
    ids=["board", "release", "roll-out"],
)  # fmt: skip
def test_the_page_takes_the_names_that_the_api_takes(logged_in, path, fields, values, name):
    logged_in.ask(1)
    sketch = {"image": ("x.bin", b"\xe9" + bytes(3000))}
    logged_in.post("/releases", files=sketch, application="blink", version="0.9")
    for field in fields:
        reply = logged_in.post(path, files=sketch, **values | {field: name})
        assert reply.status_code == 400
        assert f"{field} has 32 printable ASCII characters at most" in reply.text
    assert logged_in.post(path, files=sketch, **values).status_code == 303


def test_what_people_call_a_board_may_have_spaces_and_other_letters(logged_in):
    logged_in.ask(1)
    path = "/boards/5CCF7F000001"
    label = "Gew\u00e4chshaus, 2nd bed".ljust(64, "x")
    assert logged_in.post(path, state="accepted", label=label).status_code == 303
    assert label in logged_in.get(path).text
    assert logged_in.post(path, state="accepted", label=label + "x").status_code == 400


def test_a_number_that_nothing_can_have_is_not_found(logged_in):
    for number in ("0", "x", "9" * 20, "9" * 5000):
        path = f"/rollouts/{number}"
        for reply in (logged_in.get(path), logged_in.post(path, do="pause")):
            assert reply.status_code == 404 and 'role="alert"' in reply.text


def test_no_form_is_read_of_who_is_not_logged_in(site):
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = site.client.post("/releases", content=b"--y\r\nno form", headers=kind)
    assert reply.headers["location"] == "/login"


def test_a_form_that_cannot_be_read_is_said_on_the_page(logged_in):
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = logged_in.client.post("/releases", content=b"--y\r\nno form", headers=kind)
    assert reply.status_code == 400 and 'role="alert"' in reply.text
    huge = {"image": ("huge.bin", bytes(5 << 20))}
    assert logged_in.post("/releases", files=huge).status_code == 413
