"""`mpota serve`: runs a server that boards ask for updates."""

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mpota.arduino.outcomes import printable
from mpota.errors import CommandError
from mpota.server.simple import PORT, Exchange, ImageFolder, SimpleServer


class _ServesByDefault(TyperGroup):
    """A group of commands, of which `run` need not be named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


# The parameters of `run` that count with --simple.
_FOR_SIMPLE = ("directory", "simple", "bind", "port")

serve = typer.Typer(cls=_ServesByDefault, add_completion=False, rich_markup_mode=None)
_Database = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="MPOTA_DATABASE",
        help="postgresql://USER@HOST/NAME. [default: SQLite, in DIR]",
    ),
]


@serve.command()
def run(
    ctx: typer.Context,
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The server's folder, which is made if it does not exist. With --simple: the "
            "folder of the images, which must exist.",
        ),
    ],
    simple: Annotated[
        bool,
        typer.Option(
            "--simple", help="Give every board the newest image in DIR; nothing is written down."
        ),
    ] = False,
    bind: Annotated[
        str, typer.Option(metavar="IP", help="The address to listen at. [default: all]")
    ] = "",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The TCP port; 0 is any free one.")
    ] = PORT,
    database: _Database = "",
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="How many processes answer boards.")
    ] = 1,
    unknown: Annotated[
        str,
        typer.Option(
            metavar="pending|accept|refuse",
            help="What becomes of boards that the server does not know: they wait until an "
            "operator accepts them, may have updates at once, or are refused.",
        ),
    ] = "pending",
    arduino: Annotated[
        str,
        typer.Option(
            metavar="classic|current",
            help="The sample server of the Arduino core whose rules count for sketches. A sketch "
            "that tells no version is judged by its MD5 (classic) or gets nothing (current), and "
            "the current one refuses requests that lack headers.",
        ),
    ] = "classic",
    key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A public key: take only images that are signed with this key. Give this option "
            "again for further keys.",
        ),
    ] = None,
    fleet_secret: Annotated[
        str,
        typer.Option(
            envvar="MPOTA_FLEET_SECRET",
            metavar="SECRET",
            help="The secret that boards must send in x-mpota-secret or as their password. Other "
            "users of this computer can see a command line, so it is better to set the environment "
            "variable.",
        ),
    ] = "",
    board_secrets: Annotated[
        bool,
        typer.Option("--board-secrets", help="Answer only boards that have a secret of their own."),
    ] = False,
    images_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Redirect boards to this address for images, which has the files of DIR/images.",
        ),
    ] = "",
    accel: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Let nginx send the images, by X-Accel-Redirect to PATH."
        ),
    ] = "",
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP", help="A web server before this one; its X-Forwarded-For is believed."
        ),
    ] = None,
    log: Annotated[str, typer.Option(metavar="text|json", help="The form of the log.")] = "text",
) -> None:
    """Serve boards that ask for updates, until Ctrl-C. docs/SERVER.md explains all of it.

    A board asks this server when the board's setting update_url is http://HOST:8000/update; with
    --simple, http://HOST:8000/. HOST is the address of this computer, such as 192.168.0.2.

    With --simple, a board gets the image of its application in DIR that has the highest sequence,
    if that is another version than it runs. DIR may then have folders named by a board's MAC
    address, as 5CCF7F123456, with images for that board alone.

    'mpota serve backup DIR FILE' copies the server's SQLite database while the server runs.
    """
    if simple:
        _refuse_others(ctx)
        _serve_simply(directory, bind, port)
        return
    for name, value, values in (
        ("unknown", unknown, ("pending", "accept", "refuse")),
        ("arduino", arduino, ("classic", "current")),
        ("log", log, ("text", "json")),
    ):
        if value not in values:
            raise CommandError(f"--{name} cannot be {value!r}: give one of {', '.join(values)}")
    run_module, options_module = _modules()
    options = options_module.Options(
        folder=str(directory),
        database=database,
        unknown=unknown,
        arduino=arduino,
        keys=tuple(str(path) for path in key or []),
        fleet_secret_sha256=hashlib.sha256(fleet_secret.encode()).hexdigest()
        if fleet_secret
        else "",
        board_secrets=board_secrets,
        images_url=images_url,
        accel=accel,
        proxies=tuple(proxy or []),
        log=log,
    )
    run_module.serve(options, bind or "0.0.0.0", port, workers, _say)


@serve.command()
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The server's folder.")],
    target: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy is written to.")],
    database: _Database = "",
) -> None:
    """Copy a server's SQLite database while the server runs.

    The images in DIR/images never change: copy them afterwards.
    """
    run_module, options_module = _modules()
    run_module.back_up(options_module.Options(str(directory), database), target)
    typer.echo(f"{target}: written; copy {directory / 'images'} after it")


def _modules() -> tuple[Any, Any]:
    try:
        from mpota.server import options, run
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the server needs {error.name}, which is not installed: get it with 'pip install -e "
            "\".[server]\"' in the clone of mpota's repository, or give --simple, which needs "
            "nothing"
        ) from None
    return run, options


def _say(line: str) -> None:
    typer.echo(line)


def _refuse_others(ctx: typer.Context) -> None:
    # An option that the simple server does not have must not be taken for one that protects it.
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if option.name in _FOR_SIMPLE or source is None or source.name.startswith("DEFAULT"):
            continue
        if source.name == "ENVIRONMENT":
            raise CommandError(
                f"--simple does not know the environment variable {option.envvar}: unset it, or "
                "leave out --simple"
            )
        raise CommandError(
            f"--simple does not know the option {option.opts[0]}: leave out one of them"
        )


def _serve_simply(directory: Path, bind: str, port: int) -> None:
    if not directory.is_dir():
        raise CommandError(f"{directory} is no folder: make it, and put images into it")
    images = ImageFolder(directory, lambda line: typer.echo(line, err=True))
    try:
        server = SimpleServer((bind, port), images, _Log().show)
    except OSError as error:
        raise CommandError(
            f"cannot listen at {bind or 'any address'}, port {port} ({error.strerror}): give "
            "another --bind or --port"
        ) from error
    with server:
        url = f"http://{bind or '0.0.0.0'}:{server.server_port}/"
        typer.echo(f"serving {directory} at {url}; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("the server has ended")


class _Log:
    def __init__(self) -> None:
        self._outcomes: dict[str, str] = {}  # how each board said last that its update ended

    def show(self, exchange: Exchange) -> None:
        """Print a line, with how the board's last update ended if that is news."""
        reply, release = exchange.reply, exchange.reply.release
        mac, runs, outcome = map(printable, (exchange.mac, exchange.runs, exchange.outcome))
        words = [time.strftime("%H:%M:%S"), mac, runs, f"-> {reply.status}"]
        if reply.has_body and release:
            size = len(release.data) - reply.start
            taken = "" if exchange.sent == size else f"{exchange.sent} of "
            words.append(f"{release.manifest.name} {release.manifest.version}, {taken}{size} bytes")
            if reply.start:
                words.append(f"from {reply.start} on")
        if outcome and self._outcomes.get(mac) != outcome:
            self._outcomes[mac] = outcome
            words.append(f"({outcome})")
        typer.echo(" ".join(filter(None, words)))
