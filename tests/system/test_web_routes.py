"""The application's own pages, beside the update page or served by its own server."""

import boards
import pytest
from device import APP
from mpota.image.directory import pack_directory
from mpota.sim.rom import ARCHITECTURE
from raw_host import PASSWORD
from test_web_upload import is_installed, saved
from web_client import WebDevice, curl, request, say

pytestmark = pytest.mark.parallel

# These routes are like those in docs/APPLICATION.md, section "Pages of your own".
ROUTES = """
    values = {"pump": "off"}

    def show(request):
        return "<h1>The pump is %s</h1>" % values["pump"]

    def switch(request):
        values["pump"] = request.body.decode()
        return "switched", "text/plain"

    def logo(request):
        return open("/app/logo.svg", "rb"), "image/svg+xml"

    def broken(request):
        return undefined

    def odd(request):
        print("asked", request.method, request.path, request.query, request.body)
        return b"\\x00\\xff", "application/octet-stream", 403

    ota.web.route("/", show)
    ota.web.route("/switch", switch)
    ota.web.route("/logo.svg", logo, is_open=True)
    ota.web.route("/broken", broken)
    ota.web.route("/odd", odd)
"""
APP_WITH_ROUTES = APP.replace("    print(", ROUTES.lstrip("\n") + "    print(")
# The example is packed here and not in a test: several tests run at the same time, and Python's ast
# module is not made for that.
LOGGER = pack_directory(boards.ROOT / "examples" / "logger", architecture=ARCHITECTURE)
LOGO = b"<svg>" + b"x" * 3000 + b"</svg>"


def get(ip, path, **headers):
    return say(ip, request(ip, method="GET", path=path, **headers))


def test_an_application_answers_under_addresses_of_its_own(tmp_path):
    with WebDevice(tmp_path, APP_WITH_ROUTES, files={"logo.svg": LOGO}) as device:
        ip = device.board.ip
        answer = get(ip, "/")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.text == "<h1>The pump is off</h1>"
        answer = say(ip, request(ip, b"on", path="/switch"))
        assert (answer.status, answer.text) == (200, "switched")
        assert get(ip, "/").text == "<h1>The pump is on</h1>"
        answer = get(ip, "/logo.svg")
        assert (answer.headers["content-type"], answer.body) == ("image/svg+xml", LOGO)
        answer = get(ip, "/odd?a=1&b=%20")
        assert (answer.status, answer.body) == (403, b"\0\xff")
        device.board.wait_for(r"asked GET /odd a=1&b=%20 b''")
        assert get(ip, "/broken").status == 500
        device.board.wait_for("NameError")
        assert say(ip, request(ip, bytes(257), path="/switch")).status == 413
        assert get(ip, "/", Host="evil.example").status == 403
        answer = say(ip, request(ip, b"off", path="/switch", Origin="http://evil.example"))
        assert answer.status == 403 and get(ip, "/").text == "<h1>The pump is on</h1>"
        # The application's pages do not keep the board from taking updates.
        start = device.said
        data = device.next_image(APP_WITH_ROUTES, {"logo.svg": LOGO})
        is_installed(device, start, device.post(data))


def test_pages_of_an_application_need_the_password_unless_it_says_not(tmp_path):
    settings = {"web_password": PASSWORD}
    with WebDevice(tmp_path, APP_WITH_ROUTES, files={"logo.svg": LOGO}, **settings) as device:
        ip = device.board.ip
        assert get(ip, "/").status == 401
        assert say(ip, request(ip, b"on", path="/switch")).status == 401
        assert get(ip, "/logo.svg").body == LOGO
        answer = curl("--digest", "--user", f"mpota:{PASSWORD}", f"http://{ip}/")
        assert answer.text == "<h1>The pump is off</h1>"
        answer = curl(
            "--digest", "--user", f"mpota:{PASSWORD}", "--data", "on", f"http://{ip}/switch"
        )
        assert answer.text == "switched"


@pytest.mark.parametrize("web", [True, False])
def test_an_application_with_a_server_of_its_own_serves_the_update_page_as_well(tmp_path, web):
    board = boards.board_with(
        tmp_path, LOGGER.data, confirm_s=0.1, web=web, web_password=PASSWORD, heap="80k"
    )
    with board:
        board.wait_for("listens on port")
        port = board.wait_for(r"logger 1.0.0: see port (\d+)")[1]
        url = f"http://{board.ip}:{port}"
        log_in = ("--digest", "--user", f"mpota:{PASSWORD}")
        assert b"</html>" in curl(url + "/").body
        assert curl(url + "/update/status").status == 401
        assert curl(*log_in, url + "/update/status").json["name"] == "logger"
        assert curl(*log_in, url + "/update").status == 200
        assert b"signal,heap" in curl(url + "/samples.csv").body
        data = boards.application_image(
            {"app.py": boards.SMALL_APP.format(version=9).encode()},
            name="logger", version="9", sequence=9,
        )  # fmt: skip
        answer = curl(*log_in, "-F", f"image=@{saved(tmp_path, data)}", url + "/update")
        assert "Update Success" in answer.text
        board.wait_for("app 9 runs")
        board.wait_for("is confirmed")
