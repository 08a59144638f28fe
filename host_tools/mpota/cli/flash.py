"""`mpota flash`: set up a board over serial, once; from then on it is updated over the air."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mpota.board import settings as board_settings
from mpota.board.console import Ready
from mpota.board.firmware_cache import read_firmware, stock_firmware
from mpota.board.firmware_file import Firmware
from mpota.board.port import wait_for
from mpota.board.serial import FLASH_MODES, Chip
from mpota.board.set_up import Job, set_up
from mpota.cli.pack import show_warnings
from mpota.cli.port import DtrOption, PortOption, RtsOption, chosen_port
from mpota.cli.progress import LineConsole, Phases
from mpota.cli.sign import application_key
from mpota.errors import CommandError
from mpota.image.directory import pack_directory
from mpota.image.keys import load_public_key

_ASKED = {"ssid": "Wi-Fi network", "hostname": "Host name"}


def flash(
    port: PortOption = "",
    app: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="An application to install at once."),
    ] = None,
    firmware: Annotated[
        Path | None,
        typer.Option(
            "--firmware",
            metavar="FILE",
            help="MicroPython's .bin file; default: an official build, which is downloaded once.",
        ),
    ] = None,
    keep_firmware: Annotated[
        bool,
        typer.Option(
            "--keep-firmware",
            help="Keep the MicroPython on the board, its files, the settings that are not given "
            "here and, without --app, its application. Its own boot.py and main.py are kept as "
            "boot.py.old and main.py.old.",
        ),
    ] = False,
    ssid: Annotated[
        str | None, typer.Option("--ssid", metavar="NAME", help="The name of the Wi-Fi network.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            envvar="MPOTA_WIFI_KEY",
            show_default=False,
            help="The network's key; empty for an open network. Other users of this computer can "
            "see a command line, so it is better to set the environment variable.",
        ),
    ] = None,
    hostname: Annotated[
        str | None, typer.Option("--hostname", metavar="NAME", help="The board's host name.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(
            "--password",
            metavar="PASSWORD",
            envvar="MPOTA_PASSWORD",
            show_default=False,
            help="The password for updates; if none is given, a strong one is made and shown. "
            "Other users of this computer can see a command line, so it is better to set the "
            "environment variable.",
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="A TOML file with these and all other settings of docs/SETTINGS.md.",
        ),
    ] = None,
    publickey: Annotated[
        Path | None,
        typer.Option(
            "--publickey",
            metavar="FILE",
            help="Let the board take only images that are signed with this key.",
        ),
    ] = None,
    count: Annotated[
        str | None,
        typer.Option(
            "--count",
            metavar="N",
            help="Flash N boards one after the other, each with a number behind its host name; the "
            "next one is flashed when it is plugged in instead of the one before. FROM-TO: boards "
            "with these numbers.",
        ),
    ] = None,
    erase: Annotated[
        bool,
        typer.Option(
            "--erase",
            help="Erase all of the flash first, so that nothing remains in it of the old files.",
        ),
    ] = False,
    flash_mode: Annotated[
        str,
        typer.Option(
            "--flash-mode",
            metavar="MODE",
            help="How the flash chip is read: keep (as in the firmware), dout, dio or qio. Boards "
            "with an ESP8285 need dout.",
        ),
    ] = "keep",
    dtr: DtrOption = None,
    rts: RtsOption = None,
    wait: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=1,
            help="How long the board may take until it can be updated over the air.",
        ),
    ] = 60.0,
) -> None:
    """Set up a board over serial: MicroPython, update services, settings and an application.

    Everything on the board is lost: its MicroPython, its files and its settings. Save the files and
    settings first with 'mpota backup DIR', or the whole flash with 'mpota backup --flash DIR'; or
    use --keep-firmware.

    The command asks for settings that are missing, and verifies all that it writes. It ends when
    the board can be updated over the air, and tells how to do that.
    """
    if flash_mode not in FLASH_MODES:
        raise CommandError(
            f"--flash-mode {flash_mode} does not exist: give one of {', '.join(FLASH_MODES)}"
        )
    if keep_firmware and (firmware or erase):
        raise CommandError(
            "--keep-firmware excludes --firmware and --erase: leave it out, or leave them out"
        )
    console = LineConsole()
    options = {"ssid": ssid, "key": key, "hostname": hostname, "password": password}
    given = (board_settings.read_file(settings) if settings else {}) | {
        name: value for name, value in options.items() if value is not None
    }
    numbers = _numbers(count)
    with Phases(console) as phases:
        job = Job(
            None if keep_firmware else _firmware(firmware, phases),
            _application(app),
            _keys(publickey),
            erase,
            flash_mode,
            None if dtr is None else bool(dtr),
            None if rts is None else bool(rts),
            wait,
        )
        answers = _Answers(given, phases, numbers is not None)
        port = chosen_port(port)
        if numbers is None:
            chip, ready = set_up(port, job, answers.for_one, phases)
            phases.close()
            _show_ready(console, chip, ready)
        else:
            _flash_many(port, job, answers, numbers, phases)


class _Answers:
    """The settings for boards: from options and files, from the board, asked for, or made up."""

    def __init__(self, given: Mapping[str, object], phases: Phases, is_many: bool) -> None:
        self._given = dict(given)
        self._phases, self._is_many = phases, is_many
        self.made_password: str | None = None

    def for_one(self, present: Mapping[str, object]) -> dict[str, object]:
        """Return the settings for a board that has those in *present*."""
        self._ask(present)
        return self._merged(present, self._given)

    def for_number(
        self, number: int, last: int
    ) -> Callable[[Mapping[str, object]], dict[str, object]]:
        """Return what gives the settings for the board with this *number*."""

        def settings(present: Mapping[str, object]) -> dict[str, object]:
            self._ask(present)
            name = board_settings.numbered(str(self._given["hostname"]), number, last)
            return self._merged(present, self._given | {"hostname": name})

        return settings

    def _merged(
        self, present: Mapping[str, object], given: Mapping[str, object]
    ) -> dict[str, object]:
        if given.get("password"):
            present = board_settings.without_password(present)
        if given.get("key") == "":  # an open network
            present = {name: value for name, value in present.items() if name != "key"}
        result = dict(present) | board_settings.for_board(given, present)
        if board_settings.has_password(result):
            result.setdefault("web", True)
        return result

    def _ask(self, present: Mapping[str, object]) -> None:
        # Asks for what is missing, once.
        given = self._given
        if "ssid" not in given and "ssid" not in present:
            given["ssid"] = self._prompt("ssid", "--ssid NAME")
        # The key on the board is that of the board's present network.
        has_key = given.get("ssid") == present.get("ssid") and bool(present.get("key"))
        if "ssid" in given and "key" not in given and not has_key and sys.stdin.isatty():
            given["key"] = typer.prompt(
                "Key of the network (empty: it is open)", "", hide_input=True, show_default=False
            )
        is_named = "hostname" in given or ("hostname" in present and not self._is_many)
        if not is_named and (self._is_many or sys.stdin.isatty()):
            given["hostname"] = self._prompt("hostname", "--hostname NAME")
        if not given.get("password") and not board_settings.has_password(present):
            password = ""
            if sys.stdin.isatty():
                password = typer.prompt(
                    "Password for updates (empty: one is made)", "", hide_input=True,
                    show_default=False,
                )  # fmt: skip
            if not password:
                password = self.made_password = board_settings.new_password()
                self._phases.tell(f"password for updates, shown this once: {password}")
            given["password"] = password
        board_settings.for_board(given)  # raises an error before anything is written

    def _prompt(self, name: str, option: str) -> str:
        if not sys.stdin.isatty():
            raise CommandError(f"no {_ASKED[name]} is given: name it with {option} or --settings")
        return str(typer.prompt(_ASKED[name]))


def _firmware(path: Path | None, phases: Phases) -> Firmware:
    if path:
        firmware = read_firmware(path)
    else:
        firmware = stock_firmware(
            phases.tell,
            lambda done, total: phases.progress("downloading the firmware", done, total),
        )
    phases.tell(
        f"firmware: MicroPython {firmware.version} of {firmware.date}, SHA-256 {firmware.sha256}"
    )
    return firmware


def _application(directory: Path | None) -> bytes | None:
    if directory is None:
        return None
    packed = pack_directory(directory, private_key=application_key(directory))
    show_warnings(packed)
    return packed.data


def _keys(path: Path | None) -> bytes | None:
    if path is None:
        return None
    load_public_key(path)  # raises an error if the board could not use this key
    return path.read_bytes()


def _numbers(count: str | None) -> range | None:
    if count is None:
        return None
    found = re.fullmatch(r"(?:([1-9]\d{0,3})-)?([1-9]\d{0,3})", count)
    if not found or int(found[1] or 1) > int(found[2]):
        raise CommandError(f"--count {count} is not a number of boards: give it like 50, or 8-50")
    return range(int(found[1] or 1), int(found[2]) + 1)


def _flash_many(port: str, job: Job, answers: _Answers, numbers: range, phases: Phases) -> None:
    last = numbers[-1]
    for number in numbers:
        while True:
            wait_for(port, True)
            name = f"{number} of {last}"
            try:
                chip, ready = set_up(port, job, answers.for_number(number, last), phases)
            except CommandError as error:
                phases.result(f"{name}: FAILED, {error}")
                phases.tell(
                    f"unplug this board; {name} is tried with the next one that is plugged in"
                )
                _wait_for_the_next(port, phases)
                continue
            phases.result(f"{name}: {ready.hostname} is up at {ready.address}, MAC {chip.mac}")
            break
        if number != last:
            phases.tell(f"unplug this board and plug in the next one, {number + 1} of {last}")
            _wait_for_the_next(port, phases)


def _wait_for_the_next(port: str, phases: Phases) -> None:
    wait_for(port, False)
    phases.tell(f"unplugged; waiting for the next board at {port}")


def _show_ready(console: Console, chip: Chip, ready: Ready) -> None:
    console.print(
        f"{ready.hostname} is up at {ready.address}, MAC {chip.mac}; the cable is no longer needed"
    )
    at = "" if ready.port == 8266 else f" -p {ready.port}"
    console.print(
        f"update it over the air: mpota upload -i {ready.address}{at} DIR, with the password in "
        "MPOTA_PASSWORD"
    )
