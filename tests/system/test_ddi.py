"""Boards that ask hawkBit, against exchanges written after its schema."""

import contextlib
import hashlib
import json

import boards
import pytest
from device import APP, COMMANDED_APP
from hawkbit import Asking, HawkBit, mac, says
from web_site import StrongFile, WebSite, file, status

RAISING_APP = """
def main(ota):
    print("app {version} runs")
    raise ValueError("of no use")
"""
TARGET, GATEWAY = "TargetToken 5d8fSD54fdsFG98DDsa", "GatewayToken 0123456789abcdef"


@pytest.fixture
def site():
    with WebSite() as site:
        yield site


@pytest.fixture
def server(site):
    server = HawkBit(site, "valve-7")
    yield server
    assert not server.mistakes


def told(server, action):
    """Give what was told of *action*, in short."""
    return [(f.execution, f.finished) for f in server.told if f.action == action]


PROCEEDING, SUCCESS, FAILURE = (
    ("proceeding", "none"), ("closed", "success"), ("closed", "failure"),
)  # fmt: skip


# A deployment


def test_a_release_is_installed_confirmed_and_reported(tmp_path, server):
    with Asking(tmp_path, server) as device:
        data = device.next_image()
        start = device.said
        action = server.deploy(data)
        device.confirmed(start)
        end = server.closed(action)
        server.idle_polls()
        assert device.slot(device.record.active)[: len(data)] == data
        assert device.board.violation == ""
    assert told(server, action) == [PROCEEDING, SUCCESS] and end.details == "confirmed: 2"
    assert server.actions[action].page.sent == len(data)
    # The board reported the end after the restart, and did not ask for the image again.
    assert len(server.asked(f"/softwaremodules/{action + 1}/artifacts/garden.img")) == 1


def test_nothing_is_told_to_have_ended_before_the_release_is_confirmed(tmp_path, server):
    app = COMMANDED_APP.replace('    print("app', '    ota.auto_confirm = False\n    print("app')
    with Asking(tmp_path, server, app) as device:
        start = device.said
        action = server.deploy(device.next_image())
        device.command("1", start=device.line("app 2 runs", start))
        polls = len(server.polls)
        device.command("setattr(ota, 'uptime_s', ota.uptime_s + 3600)", start)
        assert told(server, action) == [PROCEEDING] and len(server.polls) == polls
        device.command("ota.confirm()", start=device.line("app 2 runs", start))
        assert server.closed(action).finished == "success"


def test_a_release_that_is_taken_back_is_a_failure_with_its_reason(tmp_path, server):
    with Asking(tmp_path, server) as device:
        bad = device.next_image(RAISING_APP)
        action = server.deploy(bad)
        end = server.closed(action)
        assert told(server, action) == [PROCEEDING, FAILURE]
        assert end.details.startswith("taken back: 2: raised ValueError: of no use")
        # The board does not try the same image again, not even under another name.
        boots = device.board.boots
        again = server.deploy(bad, name="other.img")
        assert server.closed(again).finished == "failure"
        assert server.closed(again).details.startswith("taken back: 2:")
        assert device.board.boots == boots
        good = server.deploy(device.next_image(APP))
        assert server.closed(good).finished == "success"
        # After the good release, the board still refuses the release that was taken back.
        late = server.deploy(bad)
        assert "ERROR[36]" in server.closed(late).details


def test_what_runs_already_is_a_success_without_an_update(tmp_path, server):
    with Asking(tmp_path, server) as device:
        action = server.deploy(device.image(files={"data.bin": bytes(20_000)}))
        assert server.closed(action).details == "it runs already"
        assert device.board.boots == 1


def test_a_release_that_waits_for_a_restart_is_reported_after_it(tmp_path, server):
    with Asking(tmp_path, server, reboot_on_success=False) as device:
        action = server.deploy(device.next_image())
        device.board.wait_for("is verified")
        server.idle_polls(3)
        assert told(server, action) == [PROCEEDING]
        assert server.actions[action].page.sent == len(server.actions[action].data)
        device.boot()
        assert server.closed(action).details == "confirmed: 2"


@pytest.mark.parametrize("etag", [None, ""], ids=["ETag", "nothing"])
def test_where_the_note_of_a_deployment_is_lost_its_end_is_told_all_the_same(
    tmp_path, server, etag
):
    with Asking(tmp_path, server, reboot_on_success=False) as device:
        data = device.next_image()
        action = server.deploy(data, StrongFile(data, etag=etag))
        device.board.wait_for("pull: updated")
        device.change_files(lambda files: files.pop("/.ota/ddi"))
        assert server.closed(action).details == "confirmed: 2"


# What is refused, and what may still succeed


def refusals(device):
    """Yield images that are refused for good, and a word of the reason."""
    device.sequence += 1
    yield device.image()[:-40] + bytes(40), "ERROR[37]"
    yield boards.application_image({"app.py": b""}, name="x", version="2", sequence=2), "ERROR[44]"
    yield b"<html>" + bytes(2000), "Verify Bin Header"
    yield bytes(103_000), "Not Enough space"


def test_what_the_board_cannot_take_is_a_failure_at_once(tmp_path, server):
    with Asking(tmp_path, server, COMMANDED_APP, heap="72k") as device:
        before = device.slot("a")
        for data, reason in refusals(device):
            end = asks_at_once(device, server, server.deploy(data))
            assert end.finished == "failure" and reason in end.details
        # The first SHA-256 is that of other data. The second one is not a SHA-256 at all.
        for sha in (hashlib.sha256(b"").hexdigest(), "12"):
            data = device.image()
            action = server.deploy(data)
            answer = server.deployment(action)
            answer["deployment"]["chunks"][0]["artifacts"][0]["hashes"]["sha256"] = sha
            server.broken[f"/deploymentBase/{action}"] = gives(answer)
            assert "ERROR[42]" in asks_at_once(device, server, action).details
        assert device.slot("a") == before and device.board.boots == 1
        device.sequence -= 1
        action = server.deploy(device.next_image())
        assert asks_at_once(device, server, action).finished == "success"


def asks_at_once(device, server, action):
    """Let the board ask, which waits after failures; give the end of *action*."""
    device.command("setattr(ota.pull, 'deadline', 0)")
    return server.closed(action)


def gives(answer):
    """Give a page with *answer*, JSON."""
    return lambda connection, request: says(connection, "200 OK", json.dumps(answer).encode())


def test_what_may_succeed_later_is_told_and_tried_again(tmp_path, server):
    app = COMMANDED_APP.replace(
        "def main(ota):", "def main(ota):\n    ota.on_start(lambda: 1 // closed)"
    ).replace("import network", "closed = 0\nimport network")
    with Asking(tmp_path, server, app) as device:
        action = server.deploy(device.next_image(APP))
        server.wait_for(lambda: "ERROR[32]" in "".join(f.details for f in server.told))
        assert not [f for f in server.told if f.execution == "closed"]
        device.command("globals().update(closed=1)")
        device.command("setattr(ota.pull, 'deadline', 0)")
        assert server.closed(action).finished == "success"


def test_an_action_that_the_server_does_not_know_any_more_is_left(tmp_path, server):
    with Asking(tmp_path, server) as device:
        for line in ("410 Gone", "404 Not Found"):
            action = server.deploy(device.image())
            server.broken[f"/deploymentBase/{action}/feedback"] = status(line)
            start = device.said
            device.board.wait_for("pull: no update", start=device.line("proceeding", start))
            assert not server.actions[action].page.sent
            server.actions[action].is_active = False


def test_a_feedback_that_fails_is_sent_again(tmp_path, server):
    with Asking(tmp_path, server) as device:
        action = server.deploy(device.image())
        path = f"/deploymentBase/{action}/feedback"
        server.broken[path] = status("500 Sorry")
        device.board.wait_for("pull: Wrong HTTP Code: HTTP 500")
        del server.broken[path]
        assert server.closed(action).finished == "success"


# Windows, handling, cancellation


def test_outside_a_maintenance_window_nothing_is_done(tmp_path, server):
    with Asking(tmp_path, server) as device:
        action = server.deploy(device.next_image(), window="unavailable")
        server.idle_polls(3)
        assert not server.told and device.board.boots == 1
        server.actions[action].window = None
        server.actions[action].handling = "attempt"
        assert server.closed(action).finished == "success"


def test_a_deployment_is_canceled_before_its_download(tmp_path, server):
    with Asking(tmp_path, server) as device:
        action = server.deploy(device.next_image(), window="unavailable")
        server.idle_polls()
        server.cancel(action)
        end = server.closed(action)
        assert (end.kind, end.finished) == ("cancelAction", "success")
        server.idle_polls()
        assert device.board.boots == 1 and told(server, action) == [SUCCESS]


@pytest.mark.parametrize("is_good", [True, False])
def test_what_is_installed_is_not_canceled_and_its_end_is_told(tmp_path, server, is_good):
    with Asking(tmp_path, server, reboot_on_success=False) as device:
        action = server.deploy(device.next_image(APP if is_good else RAISING_APP))
        device.board.wait_for("is verified")
        server.cancel(action)
        server.wait_for(lambda: ("rejected", "none") in told(server, action))
        device.boot()
        server.cancel(action)
        end = server.closed(action)
        assert (end.kind, end.finished) == ("deploymentBase", "success" if is_good else "failure")


# How the board asks


def test_the_board_asks_by_its_mac_and_with_what_hawkbit_insists_on(tmp_path, site):
    server = HawkBit(site, "?")
    with Asking(tmp_path, server, ddi_id=None, password=None) as device:
        own = HawkBit(site, mac(device))
        own.idle_polls()
    request = own.polls[0]
    assert (request.method, request.version) == ("GET", "HTTP/1.0")
    assert request.headers["host"] == "{}:{}".format(*site.address)
    assert "authorization" not in request.headers


def test_attributes_are_sent_when_the_server_wants_them(tmp_path, server):
    with Asking(tmp_path, server) as device:
        server.wait_for(lambda: not server.wants_attributes)
        assert server.attributes["mac"].replace(":", "") == mac(device)
        assert 1000 < int(server.attributes.pop("heap")) < 100_000
        assert server.attributes.pop("firmware").startswith("1.")
        server.attributes.pop("mac")
        assert server.attributes == {
            "name": "small", "version": "1", "sw_version": "1", "sequence": "1",
        }  # fmt: skip
        server.idle_polls()
        assert len(server.asked("/configData")) == 1
        # hawkBit asks for the attributes again after a success.
        server.closed(server.deploy(device.next_image()))
        server.wait_for(lambda: server.attributes["sequence"] == "2")


def test_an_answer_that_has_not_changed_is_not_sent_again(tmp_path, server):
    with Asking(tmp_path, server) as device:
        server.wait_for(lambda: not server.wants_attributes)
        server.idle_polls(3)
        assert server.polls[-1].headers["if-none-match"]
        # As long as there is something to do, the board asks for the whole answer.
        action = server.deploy(device.next_image(), window="unavailable")
        server.idle_polls(3)
        assert "if-none-match" not in server.polls[-1].headers
        server.actions[action].window = None
        assert server.closed(action).finished == "success"


@pytest.mark.parametrize(
    ("sleep", "seconds"),
    [("00:05:00", 300), ("12:00:01", 43201), ("100:00:00", 86400), ("00:00:00", 1),
     ("-1:00:00", 1), ("soon", 7000), ("00:05", 7000), (300, 7000), (None, 7000)],
)  # fmt: skip
def test_the_server_says_how_often_it_wants_to_be_asked(tmp_path, server, sleep, seconds):
    with Asking(tmp_path, server, COMMANDED_APP, update_interval_s=7000) as device:
        server.sleep = sleep
        device.command("ota.pull.check()")
        device.board.wait_for("pull: no update")
        said = device.command("ota.pull.deadline - ota.pull.last")
        pause_s = int(device.board.wait_for(r"gives (\d+)", start=said)[1])
        assert 0.85 * seconds <= pause_s <= 1.15 * seconds + 1


# Tokens


@pytest.mark.parametrize("authorization", [TARGET, GATEWAY])
def test_a_token_proves_the_board_and_goes_with_the_download_too(tmp_path, server, authorization):
    server.authorization = authorization
    kind, token = authorization.split()
    setting = {"ddi_" + kind.removesuffix("Token").lower() + "_token": token}
    with Asking(tmp_path, server, **setting) as device:
        assert server.closed(server.deploy(device.next_image())).finished == "success"
        assert token not in "".join(device.board.lines)


def test_a_board_whose_token_is_refused_says_so_and_asks_less_and_less_often(tmp_path, server):
    server.authorization = TARGET
    with Asking(tmp_path, server, COMMANDED_APP, ddi_target_token="wrong") as device:
        server.deploy(device.next_image())
        for _ in range(5):
            start = device.said
            device.command("ota.pull.check()")
            device.board.wait_for(r"pull: Unauthorized \(401\): HTTP 401", start=start)
        said = device.command("ota.pull.deadline - ota.pull.last")
        assert int(device.board.wait_for(r"gives (\d+)", start=said)[1]) > 8
        assert {r.path for r in server.site.requests} == {server.polls[0].path}
        assert "wrong" not in "".join(device.board.lines)
        device.board.power_off()
        boards.change_files(device.board.flash, with_token)
        device.board.power_on()
        assert server.closed(40).finished == "success"


def with_token(files):
    settings = json.loads(files["/ota.json"]) | {"ddi_target_token": TARGET.split()[1]}
    files["/ota.json"] = json.dumps(settings).encode()


@pytest.mark.parametrize("is_redirected", [False, True])
def test_the_token_goes_to_no_other_server(tmp_path, server, is_redirected):
    settings = {"ddi_target_token": TARGET.split()[1], "update_redirects": "strict"}
    server.authorization = TARGET
    with Asking(tmp_path, server, **settings) as device, WebSite() as elsewhere:
        data = device.next_image()
        link = elsewhere.add("/files/2.img", StrongFile(data))
        action = server.deploy(data)
        if is_redirected:
            server.actions[action].page = status("302 Found", Location=link)
        else:
            answer = server.deployment(action)
            answer["deployment"]["chunks"][0]["artifacts"][0]["_links"] = {
                "download": {"href": link}
            }
            server.broken[f"/deploymentBase/{action}"] = gives(answer)
        assert server.closed(action).finished == "success"
        assert [r.headers.get("authorization") for r in elsewhere.requests] == [None]


def test_an_answer_that_redirects_is_an_error_and_leads_nowhere(tmp_path, server):
    settings = {"ddi_target_token": TARGET.split()[1], "update_redirects": "force"}
    with Asking(tmp_path, server, **settings) as device, WebSite() as elsewhere:
        server.broken[""] = status("302 Found", Location=elsewhere.url + "/x")
        device.board.wait_for("pull: Wrong HTTP Code")
        assert not elsewhere.requests


def test_a_file_is_not_compared_with_that_of_another_deployment(tmp_path, server):
    def page(data):
        whole = file(data, Last_Modified="Wed, 25 Nov 2026 10:00:00 GMT")
        unchanged = status("304 Not Modified")
        return lambda connection, request: (
            unchanged if "if-modified-since" in request.headers else whole
        )(connection, request)

    with Asking(tmp_path, server) as device:
        for sequence in (2, 3):
            data = device.next_image()
            action = server.deploy(data, page(data))
            assert server.closed(action).details == f"confirmed: {sequence}"


# Power, and a server that is gone


def test_a_download_goes_on_where_the_power_failed(tmp_path, server):
    with Asking(tmp_path, server) as device:
        data = device.next_image(files={"data.bin": bytes(range(250)) * 240})
        device.board.cut_power_after(50)
        action = server.deploy(data)
        assert device.board.wait_for_power_cut()
        device.board.cut_power_after(None)
        device.board.power_on()
        assert server.closed(action).details == "confirmed: 2"
        path = f"/softwaremodules/{action + 1}/artifacts/garden.img"
        assert server.asked(path)[-1].start in (16384, 32768)
        assert server.actions[action].page.sent < 2 * len(data)


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("is_received", [True, False])
def test_a_cut_between_the_end_and_its_feedback_loses_nothing(
    tmp_path, server, is_good, is_received
):
    with Asking(tmp_path, server) as device:
        cut = []
        action = server.deploy(device.next_image(APP if is_good else RAISING_APP))
        path = f"/deploymentBase/{action}/feedback"
        server.wait_for(lambda: server.told)

        def page(connection, request):
            device.board.power_off()
            cut.append(request)

        server.broken[path] = page
        server.wait_for(lambda: cut)
        del server.broken[path]
        if is_received:  # the server has the feedback, but its answer did not reach the board
            server.actions[action].is_active = False
        device.board.power_on()
        if is_received:
            server.idle_polls()
            assert told(server, action) == [PROCEEDING]
        else:
            assert server.closed(action).finished == ("success" if is_good else "failure")
            assert told(server, action)[1:] == [SUCCESS if is_good else FAILURE]
        assert device.board.violation == ""


@pytest.mark.campaign
@pytest.mark.parametrize("is_good", [True, False], ids=["good", "bad"])
def test_a_cut_at_any_flash_operation_ends_in_one_feedback_that_is_true(
    tmp_path, campaign, record_property, is_good
):
    app = APP if is_good else RAISING_APP

    def life(number, cut):
        with WebSite() as site:
            server = HawkBit(site, "valve-7")
            folder = tmp_path / str(number)
            folder.mkdir()
            with Asking(folder, server) as device:
                server.wait_for(lambda: not server.wants_attributes)
                before = device.board.operations
                device.board.cut_power_after(cut)
                action = server.deploy(device.next_image(app))
                if cut is not None:
                    assert device.board.wait_for_power_cut()
                    device.board.cut_power_after(None)
                    device.board.power_on()
                end = server.closed(action)
                server.idle_polls(1)
                assert device.board.violation == "" and not server.mistakes
                ends = [t for t in told(server, action) if t[0] == "closed"]
                assert ends == [SUCCESS if is_good else FAILURE], server.told
                assert end.details.startswith("confirmed: 2" if is_good else "taken back: 2: ")
                return device.board.operations - before

    count = life(-1, None)
    cuts = campaign.sample(f"hawkBit {is_good}", range(count - 2), 4)
    for cut in cuts:
        life(cut, cut)
    record_property("power cuts of a deployment, ended truly", f"{len(cuts)}/{count - 2}")


def test_a_server_that_was_gone_for_a_day_finds_the_board_again(tmp_path):
    with contextlib.ExitStack() as there:
        site = there.enter_context(WebSite())
        server = HawkBit(site, "valve-7")
        server.sleep = "00:05:00"
        with Asking(tmp_path, server, COMMANDED_APP) as device:
            server.idle_polls(1)
            there.close()
            gone_s = asked = 0
            while gone_s < 86400:
                # The board's clock is set forward to the time when the board asks next.
                said = device.command("ota.pull.deadline - ota.uptime_s")
                gone_s += max(0, int(device.board.wait_for(r"gives (-?\d+)", start=said)[1]))
                start = device.said
                device.command("setattr(ota, 'uptime_s', ota.pull.deadline)")
                device.board.wait_for("pull: HTTP error: connection failed", start=start)
                asked += 1
            assert 8 < asked < 20  # the board asks less and less often
            with WebSite(*site.address) as back:
                server = HawkBit(back, "valve-7")
                action = server.deploy(device.next_image(APP))
                device.command("setattr(ota, 'uptime_s', ota.pull.deadline)")
                assert server.closed(action).finished == "success"


# Without hawkBit


def test_a_board_without_the_setting_asks_no_hawkbit(tmp_path, server):
    with Asking(tmp_path, server, COMMANDED_APP, ddi_url=None) as device:
        said = device.command("ota.pull.check()")
        device.board.wait_for("gives False", start=said)
        assert not server.polls


def test_the_address_of_hawkbit_goes_before_that_of_a_server(tmp_path, server, site):
    site.add("/plain", file(b"?"))
    with Asking(tmp_path, server, update_url=site.url + "/plain"):
        server.idle_polls()
        assert not site.asked("/plain")
