"""`mpota serve`: a server that boards ask for updates."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mpota.errors import CommandError
from mpota.server.simple import PORT, Exchange, ImageFolder, SimpleServer


def serve(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder that release images are put into.")
    ],
    simple: Annotated[
        bool,
        typer.Option("--simple", help="Give every board the newest image, and keep nothing."),
    ] = False,
    bind: Annotated[
        str, typer.Option(metavar="IP", help="The address to listen at. [default: all]")
    ] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The TCP port; 0: any.")] = PORT,
) -> None:
    """Serve the images in DIR to boards that ask, until Ctrl-C; print a line for each request.

    A board asks when its setting update_url names this server, as in http://192.168.0.2:8000/. It
    gets the image of its application that has the highest sequence, if that is another version than
    it runs. DIR may have folders named by a board's MAC address, as 5CCF7F123456, with images for
    that board alone.
    """
    if not simple:
        raise CommandError("there is no other server than the simple one: give --simple")
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
        self._outcomes: dict[str, str] = {}  # what each board has told last

    def show(self, exchange: Exchange) -> None:
        """Print a line, with how the board's last update ended if that is news."""
        reply, release = exchange.reply, exchange.reply.release
        words = [time.strftime("%H:%M:%S"), exchange.mac, exchange.runs, f"-> {reply.status}"]
        if reply.has_body and release:
            size = len(release.data) - reply.start
            taken = "" if exchange.sent == size else f"{exchange.sent} of "
            words.append(f"{release.manifest.name} {release.manifest.version}, {taken}{size} bytes")
            if reply.start:
                words.append(f"from {reply.start} on")
        outcome = exchange.outcome
        if outcome and self._outcomes.get(exchange.mac) != outcome:
            self._outcomes[exchange.mac] = outcome
            words.append(f"({outcome})")
        typer.echo(" ".join(filter(None, words)))
