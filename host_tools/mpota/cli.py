"""The `mpota` command: a table of commands, and the one place where errors become lines."""

import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer
from typer.core import TyperGroup

from mpota.errors import CommandError
from mpota.keygen import keygen
from mpota.pack import pack
from mpota.sign import sign
from mpota.sim.command import sim
from mpota.upload import upload
from mpota.verify import verify

COMMANDS: dict[str, Callable[..., None]] = {
    "pack": pack,
    "keygen": keygen,
    "sign": sign,
    "verify": verify,
    "upload": upload,
    "sim": sim,
}
_FAILED, _INTERRUPTED = 1, 130  # exit statuses; 130 is the shell's for Ctrl-C


class _Reporting(TyperGroup):
    """End a command that fails with one line on stderr, and a traceback only with --debug."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise _failure(ctx, str(error)) from None
        except BrokenPipeError:  # whoever read the output has gone: click ends without a word
            raise
        except OSError as error:  # such as a folder that cannot be read, or a full disk
            what = f"{error.filename}: " if error.filename else ""
            line = f"{what}{error.strerror or error}: see to that and try again"
            raise _failure(ctx, line) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(_INTERRUPTED) from None


def _failure(ctx: typer.Context, line: str) -> typer.Exit:
    """Report the error that is being handled; give what ends the command."""
    if ctx.params["debug"]:
        traceback.print_exc()
    typer.echo(f"error: {line}", err=True)
    return typer.Exit(_FAILED)


app = typer.Typer(
    cls=_Reporting,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"mpota {version('mpota')}")
        except PackageNotFoundError:
            typer.echo("mpota, not installed: run from its sources")
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


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Run the command line: the console script's entry point."""
    if sys.stdout:  # None where it is closed
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file need not be text
    app()
