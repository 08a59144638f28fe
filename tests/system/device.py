"""A board under test: what it must be running, and the proof that a test has done it no harm."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import boards
import pytest
from mpota import arduino
from mpota.arduino.outcomes import RefusedError, UploadError
from mpota.board.flash import SLOT_BYTES, SLOT_STARTS, read_flash, read_slot
from mpota.board.record import NAME, Record

# This application prints its version. It also prints when a session has ended, because the listener
# is free again then.
APP = """
import time

def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    ota.on_end(lambda: print("update ended"))
    print("app {version} runs")
    while True:
        ota.handle()
        time.sleep_ms(10)
"""
# This part of an application lets it take commands by UDP: it opens the socket `commands`.
TAKES_COMMANDS = """
    while not network.WLAN(network.WLAN.IF_STA).isconnected():
        ota.handle()
    commands = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    commands.bind(("", 7000))
    commands.settimeout(0)
    print("takes commands")
"""
# This application is like APP, and also evaluates the commands that it is given.
COMMANDED_APP = f"""
import network, socket, time

def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    ota.on_end(lambda: print("update ended"))
    print("app {{version}} runs")
{TAKES_COMMANDS}    while True:
        ota.handle()
        try:
            command = commands.recvfrom(400)[0]
        except OSError:
            time.sleep_ms(10)
            continue
        try:
            print("gives", eval(command, globals(), {{"ota": ota}}))
        except Exception as e:
            print("raises", type(e).__name__, e)
"""
_COMMAND_PORT = 7000
FAILED = r"update failed, code (\d)"
# The board prints this when it refuses an update before the update has begun. The application is
# not told of such an update.
REFUSED = r"arduino: refused: "


class Device:
    """A switched-on board and the release it runs; `sequence` is the number of both.

    The first release is `app` with further `files`; other arguments are settings. `spoiled` is true
    while it is not proven that the board still works.
    """

    def __init__(
        self,
        folder: Path,
        app: str = APP,
        /,
        *,
        files: dict[str, bytes] | None = None,
        heap: str = "56k",
        watchdog_ms: int = 1000,
        ticks: int = 0,
        **settings: object,
    ) -> None:
        self.app = app
        self.sequence = 1
        self.spoiled = False
        self.password = str(settings.get("password", ""))
        settings = {"confirm_s": 0.1} | settings
        self.board = boards.board_with(
            folder, self.image(files=files), heap=heap, watchdog_ms=watchdog_ms, ticks=ticks,
            **settings,
        )  # fmt: skip

    def __enter__(self) -> "Device":
        self.board.power_on()
        self.board.wait_for("listens on port")
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()

    def image(self, app: str | None = None, files: dict[str, bytes] | None = None) -> bytes:
        """Return the release `sequence`, of `app` with further `files`."""
        source = (app or self.app).replace("{version}", str(self.sequence))
        files = {"app.py": source.encode()} | (files or {})
        return boards.small_image(str(self.sequence), self.sequence, files)

    def next_image(self, app: str | None = None, files: dict[str, bytes] | None = None) -> bytes:
        """Increase the sequence, and return the release of that number."""
        self.sequence += 1
        return self.image(app, files)

    @property
    def said(self) -> int:
        """The number of lines so far, to wait for later ones."""
        return len(self.board.lines)

    def line(self, pattern: str, start: int = 0) -> int:
        """Wait, from line `start` on, for a line with `pattern`; return its number."""
        return self.board.lines.index(self.board.wait_for(pattern, start=start).string, start)

    def upload(self, data: bytes, **options: object) -> None:
        """Send `data` as the host tool does. Raises UploadError."""
        arduino.upload(data, **{"board_ip": self.board.ip, "password": self.password} | options)

    def command(self, expression: str, start: int = 0) -> int:
        """Let COMMANDED_APP, which runs since line *start*, evaluate *expression*.

        Wait until it has, or restarts; return where the lines of that begin.
        """
        self.board.wait_for("takes commands", start=start)
        said = self.said
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(expression.encode(), (self.board.ip, _COMMAND_PORT))
        self.board.wait_for("^gives |^raises |boot: ", start=said)
        return said

    def confirmed(self, start: int) -> None:
        """Wait, from line `start` on, until the release `sequence` runs and is confirmed."""
        self.board.wait_for(rf"app {self.sequence} runs", start=start)
        self.board.wait_for("is confirmed", start=start)

    def update(self, data: bytes | None = None) -> None:
        """Upload `data`, or the next release, and wait until it is confirmed."""
        start = self.said
        self.upload(self.next_image() if data is None else data)
        self.confirmed(start)

    def refuses(self, data: bytes, *codes: int, **options: object) -> RefusedError:
        """Upload `data`, be refused with one of `codes`, wait until the listener is free again."""
        start = self.said
        error = self.fails(data, RefusedError, **options)
        assert error.code in codes, error
        self.board.wait_for(f"{FAILED}|{REFUSED}", start=start)
        return error

    def fails(self, data: bytes, kind: type[UploadError], **options: object) -> UploadError:
        """Upload `data`, which ends with an error of `kind`."""
        with pytest.raises(kind) as caught:
            self.upload(data, **options)
        return caught.value

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[None]:
        """Check that the code inside changes nothing, and that a good update succeeds afterwards.

        The version that runs goes on without a restart. Its slot and all files stay as they are,
        and what was written into the other slot counts as nothing.
        """
        self.spoiled = True
        boots, said, files = self.board.boots, self.said, self.files()
        running, idle = self.slot(self.record.active), self.slot(self.idle)
        yield
        assert self.board.boots == boots
        assert not [line for line in self.board.lines[said:] if "Traceback" in line]
        assert self.files() == files
        assert self.slot(self.record.active) == running
        assert self.slot(self.idle) == idle or not read_slot(self.board.flash, self.idle).accepted
        self.takes_an_update()

    def takes_an_update(self) -> None:
        """Prove that a good update succeeds and is confirmed, and that no flash rule was broken."""
        self.update()
        assert self.board.violation == ""
        self.spoiled = False

    # What is on the board's flash

    def files(self) -> dict[str, bytes]:
        """Return every file on the board's flash."""
        return read_flash(self.board.flash)

    @property
    def record(self) -> Record:
        """The boot record."""
        record = Record.parse(self.files()[NAME])
        assert record is not None
        return record

    @property
    def idle(self) -> str:
        """The slot that the next update goes to."""
        return "b" if self.record.active == "a" else "a"

    def slot(self, letter: str) -> bytes:
        """Return all bytes of a slot, its marks included."""
        with self.board.flash.open("rb") as flash:
            flash.seek(SLOT_STARTS[letter])
            return flash.read(SLOT_BYTES)

    # With the power off

    def change_files(self, change: Callable[[dict[str, bytes]], object]) -> int:
        """Switch off, let *change* edit the dict of all files, switch on.

        Return where the lines of the new boot begin.
        """
        return self._change(lambda: boards.change_files(self.board.flash, change))

    def change_flash(self, change: Callable[[bytearray], object]) -> int:
        """Do as `change_files`, with *change* for the bytes of the whole flash."""

        def edit() -> None:
            flash = bytearray(self.board.flash.read_bytes())
            change(flash)
            self.board.flash.write_bytes(flash)

        return self._change(edit)

    def _change(self, edit: Callable[[], object]) -> int:
        self.board.power_off()
        edit()
        start = self.said
        self.board.power_on()
        return start

    def boot(self, how: str = "reset") -> int:
        """Reset the board or cut its power; return where the lines of the new boot begin."""
        start = self.said
        if how == "reset":
            self.board.reset()
        else:
            self.board.power_off()
            self.board.power_on()
        self.board.wait_for("boot: ", start=start)
        self.board.wait_for("listens", start=start)
        return start
