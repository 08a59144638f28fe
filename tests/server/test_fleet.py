"""`mpota fleet`: what an operator types, and what comes of it at a server."""

import contextlib
import json
import socket
import threading

import pytest
from asking import board_headers, release_image
from mpota import cli
from mpota.cli.fleet import printing
from serving import Serving
from typer.testing import CliRunner


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Yield a function that runs `mpota fleet`, logged in at a server; and the server."""
    folder = tmp_path_factory.mktemp("fleet")
    environment = {"XDG_CONFIG_HOME": str(folder), "MPOTA_SERVER": "", "MPOTA_TOKEN": ""}

    def run(*arguments, fails=False, text=""):
        command = ["fleet", *map(str, arguments)]
        ran = CliRunner().invoke(cli.app, command, input=text, env=environment)
        assert (ran.exit_code == 1) == fails, ran.output
        return ran.stderr if fails else ran.stdout

    run.environment = environment
    with Serving(folder / "server") as server:
        run.server = server
        run.folder = folder
        assert "mpota fleet login" in run("boards", "list", fails=True)
        url = f"http://127.0.0.1:{server.port}"
        refused = run("login", url, text="not the password\n", fails=True)
        assert refused == "error: the name or the password is wrong\n"
        assert "logged in" in run("login", url, text=f"{server.password}\na new password\n")
        assert "wrong" in run("login", url, text=server.password + "\n", fails=True)
        yield run


def test_the_token_is_kept_for_this_user_alone(fleet):
    assert (fleet.folder / "mpota" / "fleet.json").stat().st_mode & 0o777 == 0o600


def test_a_release_comes_to_boards_and_each_step_is_shown(fleet, tmp_path):
    image = tmp_path / "garden.img"
    image.write_bytes(release_image(2))
    ask = lambda n, **told: fleet.server.get("/update", board_headers(n, **told)).status  # noqa: E731
    assert [ask(1), ask(2)] == [304, 304]
    assert "pending" in fleet("boards", "list")
    assert "2 boards: changed" in fleet("boards", "accept", "--all")
    assert "garden/2.0.0: added" in fleet("releases", "add", image)
    assert "garden/2.0.0" in fleet("releases", "list")
    fleet("boards", "set", "5C:CF:7F:00:00:01", "--group", "lab", "--label", "well")
    started = fleet("rollout", "start", "garden/2.0.0", "--phase", "100/1h@lab", "--phase", "100")
    assert "running" in started
    assert [ask(1), ask(2)] == [200, 304]
    assert ask(1, sequence=2, outcome="confirmed: 2") == 304
    assert "1 of 2: 100 %" in fleet("rollout", "list")
    shown = fleet("boards", "show", "5CCF7F000001")
    assert "well" in shown and "confirmed: 2" in shown
    (found,) = json.loads(fleet("rollout", "list", "--json"))
    assert found["counts"]["confirmed"] == 1 and found["phases"][0]["soak_s"] == 3600
    for move, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert state in fleet("rollout", move, found["id"])
    assert "confirmed: 2" in fleet("rollout", "show", found["id"])
    assert "confirmed: 2" not in fleet("rollout", "show", found["id"], "--state", "timed out")
    number = json.loads(fleet("releases", "list", "--json"))[0]["id"]
    assert "in the channel beta" in fleet("releases", "move", number, "beta")


def test_operators_come_and_go_and_what_they_did_is_told(fleet):
    assert "eve: added" in fleet("operators", "add", "eve", "--scope", "boards", text="x" * 12)
    assert "must choose another password" in fleet("operators", "list")
    (found,) = [o for o in json.loads(fleet("operators", "list", "--json")) if o["name"] == "eve"]
    assert found["scopes"] == ["boards"]
    url = f"http://127.0.0.1:{fleet.server.port}"
    with pytest.MonkeyPatch.context() as other:
        # A login of hers, in a folder of its own.
        other.setitem(fleet.environment, "XDG_CONFIG_HOME", str(fleet.folder / "eve"))
        login = ["login", url, "--name", "eve"]
        words = f"{'x' * 12}\n{'y' * 12}\n"
        assert "scope admin" in fleet(*login, "--scope", "admin", text=words, fails=True)
        fleet(*login, text=words)
        assert "added" in fleet("boards", "add", "5C:CF:7F:00:00:77")
        assert "scope admin" in fleet("audit", fails=True)
    assert "eve: removed" in fleet("operators", "remove", "eve")
    entries = json.loads(fleet("audit", "--json"))
    told = [(e["operator"], e["what"], e["target"]) for e in entries]
    assert told[:2] == [
        ("admin", "operator removed", "eve"),
        ("eve", "board added", "5CCF7F000077"),
    ]
    assert "operator removed" in fleet("audit")
    with pytest.MonkeyPatch.context() as few:
        few.setattr(printing, "_NEWEST", 1)
        shown = fleet("audit")
    assert "the newest 1; --json has all" in shown
    assert "operator removed" in shown and "board added" not in shown


def test_a_token_is_made_for_a_program_and_taken_away(fleet):
    text = fleet("tokens", "add", "ci", "--scope", "releases", "--days", "3").strip()
    assert "sequence" in fleet("--token", text, "releases", "list")
    assert "scope boards" in fleet("--token", text, "boards", "add", "5CCF7F000078", fails=True)
    (found,) = [t for t in json.loads(fleet("tokens", "list", "--json")) if t["name"] == "ci"]
    assert found["scopes"] == ["releases"] and text not in fleet("tokens", "list")
    assert round(found["expires"] - found["created"]) == 3 * 86400
    assert "removed" in fleet("tokens", "remove", found["id"])
    assert "not known" in fleet("--token", text, "releases", "list", fails=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["rollout", "start", "attic/9"], "there is no release attic/9"),
     (["rollout", "show", 99], "there is no roll-out 99"),
     (["boards", "show", "xyz"], "no MAC address"), (["boards", "set", "5CCF7F000001"], "--group"),
     (["--server", "http://127.0.0.1:1", "boards", "list"], "does not answer"),
     (["--server", "garden", "boards", "list"], "no address of a server"),
     (["--server", "http://127.0.0.1:80o0", "boards", "list"], "no address of a server"),
     (["--server", "http://[1", "boards", "list"], "no address of a server"),
     (["--server", f"http://{'a' * 64}.local", "boards", "list"], "not the address of a server"),
     (["--token", "wrong\r", "boards", "list"], "without line ends"),
     (["--token", "wrong", "boards", "list"], "mpota fleet login")],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(fleet, arguments, said):
    text = fleet(*arguments, fails=True)
    assert said in text and text.count("\n") == 1


_HTML = b"<html>Log in to your router</html>"


@contextlib.contextmanager
def _answering(answer):
    """Run a server that answers one client with these bytes; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(30)
                connection.recv(65536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)  # the client has closed

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "said"),
    [(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(_HTML), _HTML), "mpota serve"),
     (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "mpota serve"),
     (b"SSH-2.0-OpenSSH_9.2p1\r\n", "mpota serve"),
     (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nhalf", "mpota serve"),
     (b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"bo', "ended before it was complete"),
     (b"", "does not answer")],
    ids=["HTML", "nothing", "SSH", "a cut refusal", "a cut answer", "the end"],
)  # fmt: skip
def test_what_is_no_server_of_mpota_is_said_in_one_line(fleet, answer, said):
    with _answering(answer) as url:
        text = fleet("--server", url, "boards", "list", fails=True)
    assert said in text and text.count("\n") == 1
