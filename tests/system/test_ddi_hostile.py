"""What a server that boards take for hawkBit may answer, by mistake or on purpose."""

import json
import time

import pytest
import web_site
from device import COMMANDED_APP
from hawkbit import Asking, HawkBit
from web_site import WebSite, file, head, status

NOT_DDI, LOST, NO_HTTP, ENCODING, WRONG_CODE = (
    "Not an answer of hawkBit", "connection lost", "no HTTP server", "Transfer-Encoding",
    "Wrong HTTP Code",
)  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with WebSite() as site:
        server = HawkBit(site, "valve-7")
        server.wants_attributes = False
        yield server
        assert not server.mistakes


@pytest.fixture(scope="module")
def device(tmp_path_factory, server):
    """Give a board that asks when it is told to."""
    folder = tmp_path_factory.mktemp("hostile")
    settings = {"update_interval_s": 600000, "heap": "72k", "reboot_on_success": False}
    with Asking(folder, server, COMMANDED_APP, **settings) as device:
        server.sleep = None
        device.command("ota.pull.check()")
        device.board.wait_for("pull: no update")
        yield device
        assert device.board.violation == "" and device.board.boots == 1


def asks(device, **options):
    """Let the board ask; return what it says of that, "no update" or an error."""
    for name, value in options.items():
        device.command(f"setattr(ota.pull, {name!r}, {value!r})")
    start = device.said
    device.command("ota.pull.check()")
    said = device.board.wait_for(r"pull: (no update|updated|.*rror.*|.*[a-z].*)", start=start)[1]
    assert not [line for line in device.board.lines[start:] if "Traceback" in line]
    return said


def answers(server, path, page):
    """Let *server* answer *path* by *page* until the next call."""
    server.broken.clear()
    server.broken[path] = page


def body(data, **headers):
    """Give a page with *data*, which is not said to be of that length."""
    return lambda connection, request: connection.sendall(head(**headers) + data)


def poll(**links):
    """Give a page with an answer that has *links*."""
    return file(json.dumps({"_links": links}).encode())


def endless(connection, request):
    connection.sendall(head() + b'{"_links":{')
    while True:
        connection.sendall(b'"a":"b",' * 100)


def slow(connection, request):
    connection.sendall(head())
    for byte in b'{"a":' + b" " * 1000:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


IDLE = b'{"config":{"polling":{"sleep":"01:00:00"}}}'
POLLS = {
    "no JSON": (file(b"<html>Log in first</html>"), NOT_DDI),
    "nothing": (file(b""), NOT_DDI),
    "a word": (file(b"true"), NOT_DDI),
    "a text": (file(b'"x"'), NOT_DDI),
    "half of it": (file(IDLE[:-2]), NOT_DDI),
    "half of it, of the whole's length": (
        body(IDLE[:-9], Content_Length=len(IDLE)), LOST),
    "too long": (file(b'{"a":[' + b"1," * 2000 + b"1]}"), NOT_DDI),
    "a long text": (file(b'{"a":"' + b"x" * 1500 + b'"}'), NOT_DDI),
    "without end": (endless, NOT_DDI),
    "deep": (file(b'{"a":' * 100 + b"1" + b"}" * 100), NOT_DDI),
    "not UTF-8": (file(b'{"config":{"polling":{"sleep":"\xff"}}}'), NOT_DDI),
    "a name that is not UTF-8": (file(b'{"_links":{"\xff\xfe":{"href":1}}}'), "no update"),
    "a bad escape": (file(b'{"config":{"polling":{"sleep":"\\ud8"}}}'), NOT_DDI),
    "an action that is a number": (poll(deploymentBase={"href": 7}), NOT_DDI),
    "an action without a number": (poll(deploymentBase={"href": "http://x/"}), NOT_DDI),
    "an action with a path": (poll(deploymentBase={"href": "/deploymentBase/../x"}), NOT_DDI),
    "an action with a line feed": (
        poll(cancelAction={"href": "/cancelAction/1\r\nx-evil: 1"}), NOT_DDI),
    "a long number": (poll(deploymentBase={"href": "/deploymentBase/" + "1" * 40}), NOT_DDI),
    "chunks without a size": (
        body(b"x\r\n" + IDLE, Transfer_Encoding="chunked"), ENCODING),
    "two lengths": (
        body(b"", Content_Length="5\r\nContent-Length: 7"), NO_HTTP),
    "a redirect": (status("302 Found", Location="http://127.0.0.1:1/"), WRONG_CODE),
    "not modified, of what was not asked": (status("304 Not Modified"), "no update"),
    "an empty object": (file(b"{}"), "no update"),
    "an array": (file(b"[1]"), "no update"),
    "links that are none": (file(b'{"_links":[],"config":7}'), "no update"),
    "null": (file(b'{"_links":{"deploymentBase":{"href":null}}}'), "no update"),
    "unknown fields": (
        file(b'{"x":[{"y":[[]]}],' + IDLE[1:-1] + b',"_links":{"new":{"href":"x"}}}'), "no update"),
    "without a length": (body(IDLE), "no update"),
    "more than the length": (body(IDLE + b"garbage", Content_Length=len(IDLE)), "no update"),
    "in chunks": (
        body(b"5\r\n" + IDLE[:5] + b"\r\n%x\r\n" % len(IDLE[5:]) + IDLE[5:] + b"\r\n0\r\n\r\n",
             Transfer_Encoding="chunked"), "no update"),
}  # fmt: skip


@pytest.mark.parametrize("kind", POLLS)
def test_an_answer_is_taken_for_what_it_is(device, server, kind):
    page, said = POLLS[kind]
    before = device.files()
    answers(server, "", page)
    assert said in asks(device, timeout_ms=4000)
    assert device.files() == before
    server.broken.clear()
    assert asks(device) == "no update"


def test_an_answer_that_comes_too_slowly_is_given_up(device, server):
    answers(server, "", slow)
    assert "read Timeout" in asks(device, timeout_ms=300)
    answers(server, "", lambda connection, request: web_site.be_silent(connection))
    assert "read Timeout" in asks(device, timeout_ms=300)
    server.broken.clear()
    assert asks(device, timeout_ms=8000) == "no update"


def changed(server, device, change):
    """Deploy an image with an answer that *change* has edited; give the action."""
    action = server.deploy(device.image(files={"x": bytes(3000)}))
    answer = server.deployment(action)
    change(answer["deployment"], answer["deployment"]["chunks"][0]["artifacts"])
    answers(server, f"/deploymentBase/{action}", file(json.dumps(answer).encode()))
    return action


FINAL = {
    "no artifact": lambda d, a: a.clear(),
    "two artifacts": lambda d, a: a.append(a[0]),
    "no chunks": lambda d, a: d.pop("chunks"),
    "chunks that are none": lambda d, a: d.update(chunks="x"),
    "no link": lambda d, a: a[0].pop("_links"),
    "links of null": lambda d, a: a[0].update(_links={"download": {"href": None}}),
}
PASSING = {
    "another scheme": lambda d, a: a[0].update(_links={"download": {"href": "ftp://x/y"}}),
    "a link that is a number": lambda d, a: a[0].update(_links={"download": {"href": 7}}),
    "a link with a line feed": lambda d, a: a[0].update(
        _links={"download": {"href": "http://x/y\r\nx-evil: 1"}}
    ),
    "a file that is not there": lambda d, a: a[0].update(
        _links={"download": {"href": a[0]["_links"]["download-http"]["href"] + "x"}}
    ),
}
HARMLESS = {
    "no hashes": lambda d, a: a[0].pop("hashes"),
    "hashes that are numbers": lambda d, a: a[0].update(hashes={"sha1": 1.5, "sha256": 7}),
    "no size": lambda d, a: a[0].pop("size"),
    "a size that is another's": lambda d, a: a[0].update(size=-7),
    "unknown fields": lambda d, a: d.update(new=[{"a": {}}]),
}


@pytest.mark.parametrize("kind", FINAL)
def test_a_deployment_that_no_board_can_take_is_a_failure(device, server, kind):
    running = device.slot("a")
    action = changed(server, device, FINAL[kind])
    assert "no update" not in asks(device)
    assert server.closed(action).finished == "failure"
    assert device.slot("a") == running


@pytest.mark.parametrize("kind", PASSING)
def test_a_link_that_leads_nowhere_is_told_and_the_action_goes_on(device, server, kind):
    action = changed(server, device, PASSING[kind])
    assert "rror" in (said := asks(device)) or "404" in said
    assert [f.execution for f in server.told if f.action == action] == ["proceeding"] * 2
    server.actions[action].is_active = False


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_a_deployment_need_not_have_does_not_matter(device, server, kind):
    action = changed(server, device, HARMLESS[kind])
    assert asks(device) == "no update"  # the board already runs this release
    assert server.closed(action).finished == "success"


@pytest.mark.parametrize("how", [web_site.close, web_site.reset, web_site.be_silent])
def test_a_deployment_that_breaks_off_is_asked_for_again(device, server, how):
    action = server.deploy(device.image(files={"x": bytes(3000)}))
    text = json.dumps(server.deployment(action)).encode()

    def page(connection, request):
        connection.sendall(head(Content_Length=len(text)) + text[:500])
        how(connection)

    answers(server, f"/deploymentBase/{action}", page)
    assert "error" in asks(device, timeout_ms=500)
    server.broken.clear()
    assert asks(device, timeout_ms=8000) == "no update"
    assert server.closed(action).finished == "success"


def test_a_hundred_bad_answers_leave_the_heap_where_it_was(device, server, record_property):
    def free():
        said = device.command("[__import__('gc').collect(), __import__('gc').mem_free()][1]")
        return int(device.board.wait_for(r"gives (\d+)", start=said)[1])

    pages = [POLLS[kind][0] for kind in ("no JSON", "too long", "deep", "half of it")]

    def bad(times):
        for n in range(times):
            answers(server, "", pages[n % len(pages)])
            asks(device)

    bad(4)
    before = max(free() for _ in range(5))
    bad(100)
    after = max(free() for _ in range(5))
    server.broken.clear()
    record_property("heap that 100 bad answers keep", f"{before - after} bytes")
    assert before - after <= 512
    assert asks(device) == "no update"
