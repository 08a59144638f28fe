"""The `mpota` command: its table, its exit statuses, its one way to report an error."""

import subprocess
import sys

import pytest
from mpota import cli
from mpota.errors import CommandError
from typer.testing import CliRunner


def run(*arguments):
    return CliRunner().invoke(cli.app, arguments)


@pytest.fixture
def failing(monkeypatch):
    """Make `mpota pack` raise what the test says."""

    def fail_with(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("mpota.pack.pack_directory", fail)

    return fail_with


def test_help_lists_every_command():
    result = run("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_has_help(command):
    assert run(command, "--help").exit_code == 0


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
