"""Ask the chip's boot ROM over a serial port which chip it is, and read and write its flash.

The work is done by esptool.
"""

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

# Speeds that are tried one after the other: not every adapter and cable works at the highest.
BAUD_RATES = (460800, 230400, BAUD)
FLASH_MODES = ("keep", "dout", "dio", "qio")

_LEAST_FLASH_BYTES = 2 * FILE_SYSTEM_START
_RESET_ATTEMPTS = 3  # with DTR and RTS; each takes about a second
_BY_HAND_S = 60.0  # how long a person may take to press the buttons
_ANSWER_S = 0.5
_ON_THE_LINE_S = 0.1  # until the adapter has sent all bytes that it was given
_MIB = 1024 * 1024

BUTTONS = (
    "hold FLASH (also called BOOT, or GPIO0 wired to GND), press and release RST (or switch the "
    "board's power off and on), then release FLASH"
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
    other means. Raises CommandError when the port cannot be opened, when nothing answers, or when
    mpota does not support the board. All methods raise CommandError.
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
            self.has_written = True
            self._do("erase the flash", functools.partial(self._erase_region, offset, size))

    def erase_all(self) -> None:
        """Erase the whole flash."""
        self.has_written = True
        self._do("erase the flash", lambda: cmds.erase_flash(self._esp))

    def write(
        self,
        regions: Mapping[int, bytes],
        progress: Callable[[str, int, int], None],
        mode: str = "keep",
    ) -> None:
        """Write *regions*, offset → content, then compare the flash with all of them.

        The size of the flash and the *mode*, one of FLASH_MODES, are put into the header of the
        region at 0. *progress* is called with the present phase, the bytes done, and their total.
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
        """Start the program in the chip's flash; return whether a reset by RTS was tried.

        If the adapter has no line RTS, esptool's stub on the chip starts the program.
        """
        by_line = has_lines(self.connection)
        self._reset("hard-reset" if by_line else "soft-reset")
        return by_line

    def start_by_stub(self) -> None:
        """Let esptool's stub start the program in flash, if a reset by RTS had no effect."""
        assert self._esp is not None
        self.connection.baudrate = self._bauds[0]  # the speed that the stub uses
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
                "RST, or switch its power off and on"
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
            self._esp.WRITE_FLASH_ATTEMPTS = 1  # _do() tries again, at another speed
            cmds.attach_flash(self._esp)
        except (FatalError, OSError) as error:
            self._slow_down(error)

    def _raise_baud(self) -> None:
        assert self._esp is not None
        if self._bauds[0] != BAUD:
            self._esp.change_baud(self._bauds[0])
            # Fails if the chip's answer at this speed cannot be read.
            self._esp.read_reg(ESPLoader.CHIP_DETECT_MAGIC_REG_ADDR, timeout=_ANSWER_S)

    def _slow_down(self, error: Exception) -> None:
        # Connects again, at the next lower speed.
        if len(self._bauds) == 1:
            raise self._failure("talk to the chip", error) from error
        self._bauds.pop(0)
        self._tell(
            f"the serial line is bad ({_first_line(error)}): continuing at {self._bauds[0]} baud"
        )
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
        # A serial line that fails at one speed may work at a lower one.
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
                f"the flash at {offset:#x} does not hold what was written there "
                f"({_first_line(error)}): run the same command again; if this error comes again, "
                "the flash chip is bad, or smaller than it claims, so take another board"
            ) from error
        except OSError as error:
            raise self._failure("verify", error) from error

    def _failure(self, what: str, error: Exception) -> CommandError:
        state = (
            "the program in its flash is incomplete now and does not run; run the same command "
            "again"
            if self.has_written
            else "nothing was written; run the same command again"
        )
        if isinstance(error, OSError):
            return CommandError(
                f"the port {self._port} went away (was the cable pulled, or the power lost?): "
                f"{state}"
            )
        return CommandError(f"could not {what} ({_first_line(error)}): {state}")


def _no_progress(done: int, total: int) -> None:
    pass


def _show_part(progress: Progress, before: int, size: int, total: int, done: int, of: int) -> None:
    # *done* and *of* count parts of one region, in esptool's units; *progress* counts the bytes of
    # all regions.
    progress(before + size * done // of, total)


class _Log(TemplateLogger):  # type: ignore[misc]  # esptool has no types
    """esptool's log: nothing of it is printed. Its progress bar is shown as progress."""

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
    # esptool has one log for the whole program, and it can be replaced only once.
    replacement = _Log()
    log.set_logger(replacement)
    return replacement


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _size(size_bytes: int) -> str:
    if size_bytes < _MIB:
        return f"{size_bytes // 1024} KiB"
    return f"{size_bytes // _MIB} MiB"
