"""`mpota status`, `confirm`, `reject` and `revert`; `mpota upload` to several boards."""

import json
from contextlib import ExitStack, contextmanager

import pytest
from mpota.cli import app
from mpota.discover import Found
from scripted_board import ScriptedBoard, guarded, tried
from terminal import WIDTH
from typer.testing import CliRunner

FIRST, SECOND, THIRD = "127.0.0.2", "127.0.0.3", "127.0.0.4"


def run(*arguments, password=None):
    environment = {"MPOTA_PASSWORD": password, "TERM": "xterm", "COLUMNS": str(WIDTH)}
    return CliRunner(env=environment).invoke(app, list(map(str, arguments)))


@contextmanager
def boards(scripts):
    """Run scripted boards at several addresses, all on the same port; yield the port."""
    with ExitStack() as stack:
        first = stack.enter_context(ScriptedBoard(scripts[FIRST], FIRST))
        for ip in list(scripts)[1:]:
            stack.enter_context(ScriptedBoard(scripts[ip], ip, first.port))
        yield first.port


def telling(**values):
    """Make the script of a board that tells its status once."""
    return lambda board: board.tell(**values)


def asked_for(command, answer, password="geheim"):
    """Make the script of a board that is asked for `command`, with a password."""

    def script(board):
        assert board.asked() == [command]
        board.reply(answer if board.proven(password) else "Authentication Failed")

    return script


# The status


def test_the_status_of_a_board_is_told():
    told = telling(state="trial 540", uptime=3725, outcome="taken back: 16: raised ImportError")
    with boards({FIRST: told}) as port:
        result = run("status", FIRST, "-p", port)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines == [
        "board      runs                 state                 last update",
        "127.0.0.2  garden 1.4.0         on trial, 540 s left  taken back: sequence 16:",
        "           sequence 17, slot b  up 1:02:05            raised ImportError",
        "           MicroPython 1.28.0   12345 bytes of heap",
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "idle"}, "not healthy yet"),
        ({"state": "healthy"}, "healthy"),
        ({"state": "services", "slot": "-"}, "services only"),
        ({"state": "services", "slot": "-"}, "no application"),
        ({"state": "alone", "slot": "-"}, "services only, for one update"),
        ({"outcome": ""}, "not known"),
        ({"uptime": 400_000}, "up 4 d 15 h"),
    ],
)
def test_each_state_has_its_words(values, words):
    with boards({FIRST: telling(**values)}) as port:
        assert words in run("status", FIRST, "-p", port).stdout


def test_several_boards_are_asked_at_once_and_the_table_has_80_columns():
    longest = {"name": "n" * 16, "version": "1.10.12", "uptime": 3600, "outcome": "x" * 48}
    scripts = {FIRST: telling(**longest), SECOND: telling(version="1.3.0"), THIRD: telling()}
    with boards(scripts) as port:
        result = run("status", *scripts, "-p", port)
    assert result.exit_code == 0
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines())
    assert [line for line in result.stdout.splitlines() if line.startswith(SECOND)]
    assert result.stdout.index(FIRST) < result.stdout.index(SECOND) < result.stdout.index(THIRD)


def test_a_board_that_does_not_tell_is_status_1_and_the_others_are_shown():
    scripts = {FIRST: telling(), SECOND: asked_for("status", "", password="another")}
    with boards(scripts) as port:
        result = run("status", *scripts, "-p", port, password="geheim")
    assert result.exit_code == 1 and "garden 1.4.0" in result.stdout
    assert result.stderr.startswith(f"error: {SECOND}: the board does not take this password")
    assert result.stderr.count("\n") == 1


def test_one_board_that_does_not_tell_is_one_line():
    with boards({FIRST: asked_for("status", "", password="another")}) as port:
        result = run("status", FIRST, "-p", port, "-a", "geheim")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: the board does not take this password")


def test_the_status_can_be_had_as_json():
    scripts = {FIRST: telling(), SECOND: lambda board: (board.asked(), board.reply("ERR: what?"))}
    with boards(scripts) as port:
        result = run("status", *scripts, "-p", port, "--json")
    assert result.exit_code == 1
    first, second = json.loads(result.stdout)
    assert first == {
        "board": FIRST,
        "name": "garden",
        "version": "1.4.0",
        "sequence": 17,
        "slot": "b",
        "state": "healthy",
        "trial_left_s": None,
        "free_heap_bytes": 12345,
        "firmware": "1.28.0",
        "uptime_s": 0,
        "address": FIRST,
        "outcome": "confirmed: 17",
        "last_check": "",
        "digest": "",
        "data": "",
    }
    assert second == {
        "board": SECOND,
        "error": "the board refused this request and said 'what?': see its log",
    }


def test_a_board_that_is_named_twice_is_told():
    result = run("status", FIRST, SECOND, FIRST)
    assert result.exit_code == 1 and f"error: {FIRST} is given more than once" in result.stderr


# Confirm, reject, revert


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("confirm", "confirmed"),
        ("reject", "taken back; the board restarts with the version that it ran before"),
        ("revert", "the board restarts with the version that it ran before"),
    ],
)
def test_a_command_that_the_board_carries_out_is_told(command, words):
    with boards({FIRST: asked_for(command, "OK")}) as port:
        result = run(command, FIRST, "-p", port, password="geheim")
    assert (result.exit_code, result.stdout) == (0, f"{FIRST}: {words}\n")


@pytest.mark.parametrize("command", ["confirm", "reject", "revert"])
def test_a_command_that_the_board_does_not_carry_out_is_status_1(command):
    with boards({FIRST: asked_for(command, "ERR: no version is on trial")}) as port:
        result = run(command, FIRST, "-p", port, "-a", "geheim")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no version is on trial on this board: 'mpota status'")


# Several boards


@pytest.fixture
def upload(garden):
    """Upload to scripted boards, by their addresses; return the result."""

    def upload_to(scripts, *arguments, password=None):
        addresses = [word for ip in scripts for word in ("-i", ip)]
        with boards(scripts) as port:
            return run("upload", garden, *addresses, "-p", port, *arguments, password=password)

    return upload_to


TAKEN_BACK = {"version": "1.3.0", "outcome": "taken back: 17: raised x"}
ON_TRIAL = {"state": "trial 540"}


def test_several_boards_get_it_at_once_and_a_table_tells_the_ends(upload):
    result = upload({FIRST: tried(), SECOND: tried()})
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[-3:] == ["board      garden 1.4.0", f"{FIRST}  confirmed", f"{SECOND}  confirmed"]
    for ip in (FIRST, SECOND):
        assert f"{ip}: handshake: SHA-256, the board asked for no password" in lines
        assert f"{ip}: 100 %, 188 of 188 bytes" in lines


@pytest.mark.parametrize(
    ("scripts", "exit_status"),
    [
        ({FIRST: tried(), SECOND: tried(ON_TRIAL)}, 2),
        ({FIRST: tried(ON_TRIAL), SECOND: tried(TAKEN_BACK), THIRD: tried()}, 1),
        ({FIRST: tried(), SECOND: guarded("another")}, 1),
    ],
)
def test_the_exit_status_is_the_worst_of_all(upload, scripts, exit_status):
    assert upload(scripts, "--wait-s", "0.5", password="geheim").exit_code == exit_status


def test_each_end_has_its_words_in_the_table(upload):
    scripts = {FIRST: tried(TAKEN_BACK), SECOND: guarded("another"), THIRD: tried(ON_TRIAL)}
    result = upload(scripts, "--wait-s", "0.5", password="geheim")
    table = result.stdout[result.stdout.index("board      garden 1.4.0") :]
    assert f"{FIRST}  taken back: raised x; garden 1.3.0 runs again " in table
    assert f"{SECOND}  failed: the board does not take this password" in table
    assert f"{THIRD}  not decided within 0.5 s: on trial for 540 s at most" in table
    assert all(len(line) <= WIDTH for line in table.splitlines())


def test_all_boards_with_mpota_get_it_and_those_with_a_sketch_do_not(garden, monkeypatch):
    with boards({FIRST: tried(), SECOND: tried()}) as port:
        found = [
            Found("garden-1", FIRST, port, "garden", "1.3.0", "healthy"),
            Found("garden-2", SECOND, port, "garden", "1.3.0", "idle"),
            Found("sketch", THIRD, port),
        ]
        monkeypatch.setattr("mpota.discover.discover", lambda: found)
        result = run("upload", garden, "--all")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()[-3:]]
    assert lines == [
        ["board", "garden", "1.4.0"], ["garden-1", "confirmed"], ["garden-2", "confirmed"],
    ]  # fmt: skip
    monkeypatch.setattr("mpota.discover.discover", lambda: found[2:])
    result = run("upload", garden, "--all")
    assert result.exit_code == 1 and "no board" in result.stderr


def test_one_tcp_port_is_for_one_board():
    result = run("upload", "x.img", "-i", FIRST, "-i", SECOND, "-P", 4000)
    assert result.exit_code == 1 and "error: -P gives one port" in result.stderr


def test_a_board_that_gets_it_twice_is_told(upload, garden):
    result = run("upload", garden, "-i", FIRST, "-i", FIRST)
    assert result.exit_code == 1 and "is given more than once" in result.stderr
