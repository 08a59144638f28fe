"""`mpota sim`: a simulated ESP8266 on this computer, to try updates without a board."""

import fcntl
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.board.flash import FLASH_SIZE_BYTES, create_flash, read_flash
from mpota.board.settings import for_board, parse
from mpota.cli.pack import show_warnings
from mpota.errors import CommandError
from mpota.image.directory import pack_directory
from mpota.image.keys import load_public_key
from mpota.sim.address import check_address, port_here
from mpota.sim.board import DEFAULT_HEAP, Board
from mpota.sim.heap import size_in_bytes
from mpota.sim.rom import ARCHITECTURE
from mpota.sim.serial_port import SerialPort

_READY = re.compile(r"arduino: (\S+) listens on port (\d+)")
_PAGE = re.compile(r"web: http://[^:]+:(\d+)(/\S+)")
_Maker = Callable[[Path], object]  # a function that writes a flash image to a path
_LEAST_HEAP_KB = 32  # with 28, the services do not start beside a small application


def sim(
    flash: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The board's flash, 4 MiB; made if it does not exist."),
    ] = Path("board.img"),
    ip: Annotated[
        str,
        typer.Option(help="The board's address; for further boards 127.0.0.3, 127.0.0.4, …"),
    ] = "127.0.0.2",
    app: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Make the flash with this application installed."),
    ] = None,
    password: Annotated[
        str, typer.Option(metavar="PASSWORD", help="Make the flash with this password for updates.")
    ] = "",
    publickey: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Make the flash so that the board takes only images signed with this key.",
        ),
    ] = None,
    confirm_after: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Make the flash so that a new version is confirmed after this time. [default: 60]",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Make the flash with this setting (docs/SETTINGS.md). Give this option several "
            "times for several settings.",
        ),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Make the flash with the files of DIR, such as your own main.py, which replaces "
            "mpota's.",
        ),
    ] = None,
    heap: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="The size of MicroPython's heap, as with micropython -X heapsize. 56k here "
            "hold as much as the 38 KiB of the chip.",
        ),
    ] = DEFAULT_HEAP,
    join_s: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, help="How long the board takes to join the Wi-Fi network."
        ),
    ] = 2,
    ssid: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="The name of the only Wi-Fi network in reach. Without this option, the board can "
            "join any network.",
        ),
    ] = "",
    ticks: Annotated[
        int,
        typer.Option(
            metavar="MS",
            min=0,
            max=2**30 - 1,
            help="The value of time.ticks_ms() at each boot; after 1073741823 comes 0.",
        ),
    ] = 0,
    power_cut_after: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Let the power fail after N flash operations."),
    ] = None,
    serial: Annotated[
        bool,
        typer.Option(
            "--serial",
            help="Give the board a serial port, a pseudo-terminal whose name is shown: for mpota "
            "flash, esptool, mpremote, or a terminal program.",
        ),
    ] = False,
    boot_mode: Annotated[
        bool,
        typer.Option(
            "--boot-mode",
            help="With --serial: hold the FLASH button at power-on. A FILE that does not exist is "
            "made as a blank flash.",
        ),
    ] = False,
) -> None:
    """Run a simulated ESP8266 until Ctrl-C, with the same code that runs on a real board.

    The flash file keeps what the board has stored: the next start with it continues from there.
    """
    _check_heap(heap)
    check_address(ip)
    if boot_mode and not serial:
        raise CommandError("--boot-mode needs a serial port: give --serial as well")
    content = _Content(app, password, publickey, confirm_after, tuple(settings or ()), files)
    make = _blank_board(flash, content) if boot_mode else _new_board(flash, content, serial)
    with _flash(flash, make), _ended_by_signals(), _port(serial) as port:
        typer.echo(f"board: {flash}, {ip}; Ctrl-C switches it off")
        if port is not None:
            typer.echo(f"board: serial port {port.name}")
        board = Board(
            flash,
            ip=ip,
            heap=heap,
            join_s=join_s,
            ssid=ssid,
            ticks=ticks,
            on_line=lambda line: _show(line, ip),
            on_restart=lambda: _show_flash_time(board),
            port=port,
            boot_mode=boot_mode,
        )
        board.cut_power_after(power_cut_after)
        try:
            with board:
                board.join()
        except KeyboardInterrupt:
            typer.echo(f"board: off; start it again with --flash {flash} to continue")
            return
    # Only a power cut ends a board by itself.
    typer.echo(
        f"board: the power failed after {power_cut_after} flash operations; start it again with "
        f"--flash {flash} to see it come up"
    )


def _show(line: str, ip: str) -> None:
    typer.echo(f"{datetime.now():%H:%M:%S.%f}"[:-3] + f" {ip}| {line}")
    if found := _READY.search(line):
        typer.echo(f"board: ready, {found[1]} takes updates at {ip}:{found[2]}")
    if found := _PAGE.search(line):
        port = port_here(ip, int(found[1]))
        why = "" if port == int(found[1]) else ", since only root may use port " + found[1]
        typer.echo(f"board: its update page is http://{ip}:{port}{found[2]}{why}")


def _show_flash_time(board: Board) -> None:
    typer.echo(
        f"board: restart; the {board.erases} erased sectors and {board.pages} written pages since "
        f"power-on take {board.flash_time_ms / 1000:.1f} s on a real chip"
    )


def _check_heap(heap: str) -> None:
    try:
        size = size_in_bytes(heap)
    except ValueError as error:
        raise CommandError(f"--heap {heap} is not a size: give it like 56k") from error
    if size < _LEAST_HEAP_KB * 1024:
        raise CommandError(
            f"--heap {heap} is too small for a board to start: give {_LEAST_HEAP_KB}k or more; "
            f"{DEFAULT_HEAP} corresponds to the chip's heap"
        )


@dataclass(frozen=True)
class _Content:
    """What is on the flash of a new board: the values of the options for that."""

    app: Path | None
    password: str
    publickey: Path | None
    confirm_after: float | None
    settings: tuple[str, ...]
    files: Path | None

    @property
    def options(self) -> str:
        """The options that were given."""
        return ", ".join(
            "--" + {"settings": "set", "confirm_after": "confirm-after"}.get(name, name)
            for name, value in vars(self).items()
            if value not in (None, "", ())
        )


def _blank_board(flash: Path, content: _Content) -> _Maker | None:
    # Does what _new_board() does, for a board that nobody has flashed yet.
    if content.options:
        raise CommandError(
            "a board in boot mode is flashed by 'mpota flash', which takes the application and the "
            f"password: leave out {content.options}"
        )
    if flash.exists():
        return None
    return lambda path: path.write_bytes(b"\xff" * FLASH_SIZE_BYTES)


@contextmanager
def _port(wanted: bool) -> Iterator[SerialPort | None]:
    if not wanted:
        yield None
        return
    port = SerialPort()
    try:
        yield port
    finally:
        port.close()


def _new_board(flash: Path, content: _Content, serial: bool) -> _Maker | None:
    # Returns a function that makes the flash of a new board; None where the flash exists already.
    if flash.exists():
        if content.options:
            raise CommandError(
                f"{flash} exists already: delete it to make a new one, or leave out "
                f"{content.options} to continue with it"
            )
        if not serial:  # with a serial port, 'mpota flash' can repair a damaged flash
            read_flash(flash)
        return None
    files, slots = boot_files() | settings_file(_settings(content)), {}
    if content.app:
        packed = pack_directory(content.app, architecture=ARCHITECTURE)
        show_warnings(packed)
        files |= first_record(packed.data)
        slots["a"] = packed.data
    if content.publickey:
        load_public_key(content.publickey)  # raises an error if a board could not use this key
        files["/ota.keys"] = content.publickey.read_bytes()
    if content.files:
        files |= _own_files(content.files)
    return partial(create_flash, files=files, system=system_rom(ARCHITECTURE), slots=slots)


def _settings(content: _Content) -> dict[str, object]:
    settings: dict[str, object] = {"ssid": "simulated", "web": True}
    if content.password:
        settings["password"] = content.password
    if content.confirm_after is not None:
        settings["confirm_s"] = content.confirm_after
    for item in content.settings:
        name, equals, text = item.partition("=")
        if not equals:
            raise CommandError(f"the setting {name} has no value: give {name}=VALUE")
        settings[name] = parse(name, text)
    return for_board(settings)


def _own_files(folder: Path) -> dict[str, bytes]:
    # Returns the files of the folder, path on the board → content, without those that only tools
    # on this computer use.
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a directory: give the folder of the board's files")
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        f"/{path.as_posix()}": (folder / path).read_bytes()
        for path in paths
        if "__pycache__" not in path.parts and not any(part[0] == "." for part in path.parts)
    }


@contextmanager
def _flash(path: Path, make: _Maker | None) -> Iterator[None]:
    # Makes the flash if it is new, and locks it, so that no second board runs on it.
    try:
        if make is not None:
            make(path)
        with path.open("rb") as image:
            fcntl.flock(image, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise CommandError(
            f"another simulated board uses {path}: give another file with --flash"
        ) from error
    except OSError as error:
        raise CommandError(
            f"cannot use {path} ({error.strerror}): give another file with --flash"
        ) from error


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    # SIGTERM ends the board as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
