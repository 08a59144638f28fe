"""The `mpota` command: a table of commands, and the one place where errors become lines.

The command NAME is the function NAME in the module NAME beside this file. The module is imported
only when the command runs, and so are the libraries that it needs.
"""

import importlib
import io
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mpota.errors import CommandError

# Each command, and the line that `mpota --help` shows for it.
COMMANDS = {
    "pack": "Make an application image of a directory.",
    "mkdata": "Make an image of data files, for a board's folder /data.",
    "inspect": "Tell what is in an image.",
    "keygen": "Make the pair of keys that images are signed and verified with.",
    "sign": "Sign a file, with the options of Arduino's signing.py.",
    "verify": "Tell whether an image is signed with a key.",
    "flash": "Set up a board over serial, once.",
    "config": "Show or change a board's settings over serial.",
    "monitor": "Show what a board says on its serial port.",
    "backup": "Save a board's files, or its whole flash, over serial.",
    "restore": "Write back to a board what 'mpota backup' has saved.",
    "upload": "Send an image, or an application's directory, to boards, and see it tried.",
    "dev": "Upload an application's directory after each change, and show the board's log.",
    "discover": "Find the boards in this network.",
    "status": "Ask boards what they run, and how their last update ended.",
    "confirm": "Keep the version that a board has on trial.",
    "reject": "Take back the version that a board has on trial.",
    "revert": "Let a board go back to the version that it ran before.",
    "serve": "Run a server that boards ask for updates.",
    "fleet": "Operate an update server: its boards, releases and roll-outs.",
    "sim": "Run a simulated board on this computer.",
}
# The key in click's `Context.meta` by which a command with its own option --debug asks for a
# traceback.
DEBUG = "mpota.debug"
# Modules of Python that only systems like Linux have.
_OF_UNIX = ("fcntl", "pty", "termios", "tty")
_FAILED, _INTERRUPTED = 1, 130  # exit statuses; 130 is the shell's for Ctrl-C


class _Commands(TyperGroup):
    """Load a command when it is asked for.

    A command that fails prints one line to stderr; with --debug, a traceback as well.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in COMMANDS:
            return None
        single = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        try:
            module = importlib.import_module(f"mpota.cli.{name}")
        except ModuleNotFoundError as error:
            if error.name in _OF_UNIX:
                raise CommandError(f"'mpota {name}' runs on Linux only, on x86-64") from error
            raise CommandError(
                f"'mpota {name}' needs {error.name}, which is not installed: get it with 'pip "
                "install -e \".[all]\"' in the clone of mpota's repository"
            ) from error
        command = getattr(module, name)
        if isinstance(command, typer.Typer):  # it has commands of its own
            return typer.main.get_group(command)
        single.command(name)(command)
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise _failure(ctx, str(error)) from None
        except BrokenPipeError:  # the reader of the output has gone: click ends the command
            raise
        except OSError as error:  # such as a folder that cannot be read, or a full disk
            what = f"{error.filename}: " if error.filename else ""
            line = f"{what}{error.strerror or error}: correct this and try again"
            raise _failure(ctx, line) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from None


def _failure(ctx: typer.Context, line: str) -> typer.Exit:
    """Report the error that is being handled; return the exception that ends the command."""
    if ctx.params["debug"] or ctx.meta.get(DEBUG):
        traceback.print_exc()
    typer.echo(f"error: {line}", err=True)
    return typer.Exit(_FAILED)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"mpota {version('mpota')}")
        except PackageNotFoundError:
            typer.echo("mpota is not installed, but runs from its sources")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show errors with a traceback.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Over-the-air updates for MicroPython on the ESP8266."""


def main() -> None:
    """Run the command line: the console script's entry point."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # stdout is None where it was closed
        # The name of a file may hold bytes that are no text in UTF-8.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
