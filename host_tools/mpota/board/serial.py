"""The chip's boot ROM over a serial port, spoken to by esptool: what chip it is, and its flash."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import serial
from esptool import cmds
from esptool.loader import ESPLoader
from esptool.logger import TemplateLogger, log
from esptool.util import FatalError, flash_size_bytes

from mpota.board.flash import FILE_SYSTEM_START
from mpota.board.port import BAUD, has_lines, open_port
from mpota.errors import CommandError

# Tried one after the other: adapters and cables differ in what they carry.
BAUD_RATES = (460800, 230400, BAUD)
FLASH_MODES = ("keep", "dout", "dio", "qio")

_LEAST_FLASH_BYTES = 2 * FILE_SYSTEM_START
_RESET_ATTEMPTS = 3  # with DTR and RTS, each of about a second
_BY_HAND_S = 60.0  # for a person who has buttons to press
_ANSWER_S = 0.5
_ON_THE_LINE_S = 0.1  # until what an adapter was given has left it
_MIB = 1024 * 1024

BUTTONS = (
    "hold FLASH (also called BOOT, or GPIO0 wired to GND), press and release RST (or take the "
    "board's power away and give it back), let go of FLASH"
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Chip:
    """What esptool found: the chip's name, its MAC address and the size of its flash."""

    name: str
    mac: str
    flash_bytes: int

    def __str__(self) -> str:
        return f"{self.name}, MAC {self.mac}, {_size(self.flash_bytes)} of flash"


class Loader:
    """A chip in its serial boot mode. A context manager, which closes the port.

    *tell* is called with lines for people; *has_written* is whether the board was changed before by
    other means. Raises CommandError, as all of its methods do: when the
    port cannot be opened, nothing answers, or the board is none that can be updated.
    """

    def __init__(
        self,
        port: str,
        *,
        tell: Callable[[str], None],
        dtr: bool | None = None,
        rts: bool | None = None,
        by_hand_s: float = _BY_HAND_S,
        has_written: bool = False,
    ) -> None:
        self._port, self._dtr, self._rts = port, dtr, rts
        self._tell, self._by_hand_s = tell, by_hand_s
        self._bauds = list(BAUD_RATES)
        self._esp: ESPLoader | None = None
        self._log = _esptool_log()
        self.has_written = has_written
        try:
            self._connect()
            self.chip = self._find_out()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        if self._esp is not None:
            self._esp._port.close()

    @property
    def connection(self) -> serial.Serial:
        """The open port."""
        assert self._esp is not None
        return self._esp._port

    def erase(self, regions: Mapping[int, int]) -> None:
        """Erase *regions*, offset → size, in whole sectors."""
        for offset, size in regions.items():
            self._do("erase the flash", functools.partial(self._erase_region, offset, size))

    def erase_all(self) -> None:
        """Erase the whole flash."""
        self._do("erase the flash", lambda: cmds.erase_flash(self._esp))

    def write(
        self,
        regions: Mapping[int, bytes],
        progress: Callable[[str, int, int], None],
        mode: str = "keep",
    ) -> None:
        """Write *regions*, offset → content, and compare all of them with what is in flash then.

        In what is written to 0, the size of the flash is put into the header, and *mode*, one of
        FLASH_MODES. *progress* is called with what goes on, and of how many bytes it is done.
        """
        total, done = sum(map(len, regions.values())), 0
        writing = functools.partial(progress, "writing the flash")
        for offset, data in regions.items():
            size = len(data)
            self._log.progress = functools.partial(_show_part, writing, done, size, total)
            self._do(f"write to {offset:#x}", functools.partial(self._write, offset, data, mode))
            done += size
        self._log.progress = _no_progress
        done = 0
        for offset, data in regions.items():
            self._verify(offset, data, mode)
            done += len(data)
            progress("verifying the flash", done, total)

    def read(self, offset: int, size: int, progress: Progress) -> bytes:
        """Return *size* bytes of the flash."""
        self._log.progress = progress
        try:
            read = self._do("read the flash", lambda: cmds.read_flash(self._esp, offset, size))
            assert isinstance(read, bytes)
            return read
        finally:
            self._log.progress = _no_progress

    def start(self) -> bool:
        """Have the chip start what is in its flash; return whether a reset by RTS was tried.

        Where the adapter has no such line, the stub is asked to start the program.
        """
        by_line = has_lines(self.connection)
        self._reset("hard-reset" if by_line else "soft-reset")
        return by_line

    def start_by_stub(self) -> None:
        """Have the stub start what is in flash, where a reset by RTS was of no effect."""
        assert self._esp is not None
        self.connection.baudrate = self._bauds[0]  # as the stub has it
        self._reset("soft-reset")

    def _reset(self, how: str) -> None:
        try:
            cmds.reset_chip(self._esp, how)
            self.connection.flush()
            time.sleep(_ON_THE_LINE_S)
            self.connection.baudrate = BAUD
        except (FatalError, OSError) as error:
            raise CommandError(
                f"the board was not started ({_first_line(error)}): everything is written; press "
                "RST, or take its power away and give it back"
            ) from error

    # Connecting

    def _connect(self) -> None:
        deadline, is_first = 0.0, True
        while True:
            connection = open_port(self._port, dtr=self._dtr, rts=self._rts)
            try:
                by_line = is_first and has_lines(connection)
                esp = cmds.detect_chip(
                    connection,
                    connect_mode="default-reset" if by_line else "no-reset",
                    connect_attempts=_RESET_ATTEMPTS if is_first else 1,
                )
                break
            except (FatalError, OSError) as error:
                connection.close()
                if is_first:
                    self._tell(
                        f"the board did not enter its boot mode by itself: {BUTTONS}; waiting "
                        f"{self._by_hand_s:.0f} s for it"
                    )
                    deadline = time.monotonic() + self._by_hand_s
                elif time.monotonic() > deadline:
                    raise CommandError(
                        f"no ESP8266 in its boot mode answers on {self._port} "
                        f"({_first_line(error)}): {BUTTONS}, and run this again"
                    ) from error
            is_first = False
        self._esp = esp
        if esp.CHIP_NAME != "ESP8266":
            raise CommandError(
                f"the chip on {self._port} is an {esp.CHIP_NAME}, and mpota is for the ESP8266 "
                "alone: nothing was written; connect another board"
            )
        try:
            self._esp = cmds.run_stub(esp)
            self._raise_baud()
            self._esp.WRITE_FLASH_ATTEMPTS = 1  # tried again here, at another speed
            cmds.attach_flash(self._esp)
        except (FatalError, OSError) as error:
            self._slow_down(error)

    def _raise_baud(self) -> None:
        assert self._esp is not None
        if self._bauds[0] != BAUD:
            self._esp.change_baud(self._bauds[0])
            # Whether it is understood.
            self._esp.read_reg(ESPLoader.CHIP_DETECT_MAGIC_REG_ADDR, timeout=_ANSWER_S)

    def _slow_down(self, error: Exception) -> None:
        # Begins anew at the next lower speed.
        if len(self._bauds) == 1:
            raise self._failure("talk to the chip", error) from error
        self._bauds.pop(0)
        self._tell(f"the line is bad ({_first_line(error)}): going on at {self._bauds[0]} baud")
        self.close()
        self._connect()

    def _find_out(self) -> Chip:
        esp = self._esp
        assert esp is not None
        try:
            name = esp.get_chip_description()
            mac = ":".join(f"{byte:02x}" for byte in esp.read_mac())
            size = flash_size_bytes(cmds.detect_flash_size(esp))
            flash_id = esp.flash_id()
        except (FatalError, OSError) as error:
            raise self._failure("find out what chip it is", error) from error
        if size is None:
            raise CommandError(
                f"the flash chip is of an unknown kind (its id is {flash_id:#x}): nothing was "
                "written; check that the module's flash is soldered well, or take another board"
            )
        if size < _LEAST_FLASH_BYTES:
            raise CommandError(
                f"this board ({name}, MAC {mac}) has {_size(size)} of flash, and at least 2 MiB "
                "are needed for two versions of an application beside MicroPython: nothing was "
                "written; take a board with 2 MiB or more (docs/BOARDS.md says which)"
            )
        return Chip(name, mac, size)

    # Work with the flash

    def _do(self, what: str, action: Callable[[], object]) -> object:
        # A line that fails at one speed may do at a lower one.
        while True:
            try:
                return action()
            except FatalError as error:
                if len(self._bauds) == 1:
                    raise self._failure(what, error) from error
                self._slow_down(error)
            except OSError as error:
                raise self._failure(what, error) from error

    def _erase_region(self, offset: int, size: int) -> None:
        cmds.erase_region(self._esp, offset, size)

    def _write(self, offset: int, data: bytes, mode: str) -> None:
        self.has_written = True
        cmds.write_flash(self._esp, [(offset, data)], flash_size="detect", flash_mode=mode)

    def _verify(self, offset: int, data: bytes, mode: str) -> None:
        try:
            cmds.verify_flash(self._esp, [(offset, data)], flash_size="detect", flash_mode=mode)
        except FatalError as error:
            raise CommandError(
                f"what was written to {offset:#x} is not what is there now "
                f"({_first_line(error)}): run the same command again; if it ends so again, the "
                "flash chip is bad, or smaller than it says, so take another board"
            ) from error
        except OSError as error:
            raise self._failure("verify", error) from error

    def _failure(self, what: str, error: Exception) -> CommandError:
        state = (
            "what is in its flash now is incomplete and does not run; run the same command again"
            if self.has_written
            else "nothing was written; run the same command again"
        )
        if isinstance(error, OSError):
            return CommandError(
                f"the port {self._port} went away (a cable pulled, or the power?): {state}"
            )
        return CommandError(f"could not {what} ({_first_line(error)}): {state}")


def _no_progress(done: int, total: int) -> None:
    pass


def _show_part(progress: Progress, before: int, size: int, total: int, done: int, of: int) -> None:
    # *done* *of* one region, in whatever unit, are told as bytes of all regions.
    progress(before + size * done // of, total)


class _Log(TemplateLogger):  # type: ignore[misc]  # esptool has no types
    """What esptool would print; what of it matters reaches people as errors and as progress."""

    def __init__(self) -> None:
        self.progress: Progress = _no_progress

    def print(self, *args: object, **kwargs: object) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        pass

    def error(self, message: str) -> None:
        pass

    def stage(self, finish: bool = False) -> None:
        pass

    def set_verbosity(self, verbosity: str) -> None:
        pass

    def progress_bar(
        self,
        cur_iter: int,
        total_iters: int,
        prefix: str = "",
        suffix: str = "",
        bar_length: int = 30,
    ) -> None:
        self.progress(cur_iter, total_iters)


@functools.cache
def _esptool_log() -> _Log:
    # esptool has one log for the whole program, which can be replaced once.
    replacement = _Log()
    log.set_logger(replacement)
    return replacement


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _size(size_bytes: int) -> str:
    if size_bytes < _MIB:
        return f"{size_bytes // 1024} KiB"
    return f"{size_bytes // _MIB} MiB"
