"""The keeper of one simulated board: it switches the board on, resets it, and reads its console."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mpota.errors import CommandError
from mpota.sim.board_process import BoardProcess
from mpota.sim.boot_mode import PowerCutError, flash_id, has_program, serve
from mpota.sim.boot_rom import Chip
from mpota.sim.control_page import ControlPage
from mpota.sim.heap import own_bytes, size_in_bytes
from mpota.sim.rom_modules import control
from mpota.sim.serial_port import SerialPort

# Values of machine.reset_cause() on the chip.
POWER_ON = 0
EXCEPTION = 2
SOFTWARE_WATCHDOG = 3
SOFT_RESTART = 4
DEEP_SLEEP = 5
RESET_PIN = 6

DEFAULT_HEAP = "56k"  # corresponds to 38 KiB on the chip: objects are larger on a 64-bit machine
WATCHDOG_MS = 5000

_SOFT_RESET = "MPY: soft reboot"
# The boot ROM's message when there is no program in flash.
_NOTHING_TO_START = "ets Jan  8 2013,rst cause:1, boot mode:(3,6)"


class Board:
    """A board that runs as a process of its own for every boot, with only the flash carried over.

    `flash` is an image file (see `create_flash`); `ip` the board's own address, of 127.0.0.0/8;
    `join_s` is how long the station takes to join a network after connect(), and `ssid` the name of
    the only network that there is (nothing: every network is there); `ticks` is what its
    time.ticks_ms() begins with in each boot, to be near 2**30, where they come round, at once;
    `on_line` is called with every line of the serial port, `on_restart` when the board begins to
    boot again after a reset. *port*, if there is one, has all bytes of the serial port, in both
    directions. With *boot_mode*, the button for the boot ROM's serial mode is held at the first
    power-on; a program that asks for it by a SYNC frame gets it at any time. *chip* is what the
    boot ROM tells of the chip. Use it as a context manager, or call `power_on()` and `stop()`.
    """

    def __init__(
        self,
        flash: Path,
        *,
        ip: str = "127.0.0.2",
        heap: str = DEFAULT_HEAP,
        watchdog_ms: int = WATCHDOG_MS,
        join_s: float = 0,
        ssid: str = "",
        ticks: int = 0,
        scripts: tuple[str, ...] = ("boot.py", "main.py"),
        on_line: Callable[[str], None] = lambda line: None,
        on_restart: Callable[[], None] = lambda: None,
        port: SerialPort | None = None,
        boot_mode: bool = False,
        chip: Chip | None = None,
    ) -> None:
        self.flash = Path(flash)
        self.ip = ip
        self.lines: list[str] = []
        self.boots = 0
        self._heap_bytes = size_in_bytes(heap)
        self._scripts = scripts
        self._on_line = on_line
        self._on_restart = on_restart
        self._port = port
        self._given_chip = chip
        self._is_in_boot_mode = boot_mode
        self._sync = b""  # the first bytes of a program at the port that wants the boot ROM
        self._changed = threading.Condition()
        self._process: BoardProcess | None = None
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._resets = 0
        self._woken = threading.Event()  # by the reset button, or since the power is gone
        self._next_cause: int | None = None
        self._failure: BaseException | None = None  # what ended the keeper's thread
        self.control = ControlPage()
        self.control[control.CUT_AFTER] = control.NEVER
        self.control[control.WATCHDOG_MS] = watchdog_ms
        self.control[control.JOIN_MS] = round(join_s * 1000)
        self.control[control.CHIP_ID] = 0xC0FF00 | int(ip.rpartition(".")[2])
        self.control[control.NETWORK] = 1
        self.control[control.TICKS] = ticks
        self.control.set_text(control.IP, ip, 16)
        self.control.set_text(control.NETWORK_NAME, ssid, control.TEXT_SIZE)
        self.control.clear_rtc()

    def __enter__(self) -> "Board":
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Power

    def power_on(self) -> None:
        """Start the board; it resets as often as it likes until `power_off` or a power cut."""
        if self._thread is not None and self._thread.is_alive():
            raise CommandError("the board is on already")
        self.control[control.REQUEST] = control.REQUEST_NONE
        self._wanted = True
        self._next_cause = None
        self._failure = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def power_off(self) -> None:
        """Take the power away at once. RTC memory is lost."""
        self._wanted = False
        self._kill()
        if self._thread is not None:
            self._thread.join()
        self.control.clear_rtc()

    def reset(self, boot_mode: bool = False) -> None:
        """Press the reset button: RTC memory is kept. *boot_mode*: with the other one held."""
        self._next_cause = RESET_PIN
        self._is_in_boot_mode = boot_mode
        self._resets += 1
        self._kill()

    def stop(self) -> None:
        """Take the power away for good."""
        self.power_off()

    def cut_power_after(self, operations: int | None, torn: str = "none") -> None:
        """Let the power fail before the flash operation that follows *operations* more of them.

        *torn*, one of control.TORN_MODES, says how much of that operation is still carried out.
        """
        self.control[control.TORN] = control.TORN_MODES.index(torn)
        limit = control.NEVER if operations is None else self.operations + operations
        self.control[control.CUT_AFTER] = limit

    @property
    def is_on(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    # What is known of it

    @property
    def operations(self) -> int:
        """Flash programs and erases so far."""
        return self.control[control.OPERATIONS]

    @property
    def programmed_bytes(self) -> int:
        return self.control[control.BYTES_PROGRAMMED]

    @property
    def erases(self) -> int:
        return self.control[control.ERASES]

    @property
    def read_bytes(self) -> int:
        """Bytes of flash that were read through the flash controller so far."""
        return self.control[control.BYTES_READ]

    @property
    def pages(self) -> int:
        """Pages of the flash chip that were programmed so far; each time counts."""
        return self.control[control.PAGES]

    @property
    def flash_time_ms(self) -> float:
        """How long the programs and erases so far take on a flash chip, by its data sheet."""
        programs_us = self.pages * control.PAGE_PROGRAM_US
        return (programs_us + self.erases * control.SECTOR_ERASE_US) / 1000

    @property
    def violations(self) -> int:
        """Flash calls that the chip would not have carried out as asked; each raised an error."""
        return self.control[control.VIOLATIONS]

    @property
    def violation(self) -> str:
        """The first of the `violations`, or ''."""
        return self.control.text(control.VIOLATION_TEXT, 128)

    @property
    def power_failed(self) -> bool:
        """Whether the power has failed as `cut_power_after` has asked for."""
        return self.control[control.REQUEST] == control.REQUEST_POWER_CUT

    @property
    def network(self) -> bool:
        """Whether the access point is in reach; may be set at any time."""
        return self.control[control.NETWORK] == control.IN_REACH

    @network.setter
    def network(self, in_reach: bool) -> None:
        self.control[control.NETWORK] = control.IN_REACH if in_reach else control.OUT_OF_REACH

    def refuse_key(self) -> None:
        """Let the access point refuse the board's key from now on, until `network` is set."""
        self.control[control.NETWORK] = control.KEY_IS_WRONG

    def use_name_server(self, ip: str, port: int) -> None:
        """Ask the name server at *ip* and *port* from now on, with lwIP's timeouts."""
        self.control.set_text(control.NAME_SERVER, f"{ip}:{port}", control.TEXT_SIZE)

    def wait_for(self, pattern: str, timeout_s: float = 30, start: int = 0) -> re.Match[str]:
        """Wait for a line, from line number *start* on, in which the regular expression is found.

        Raises TimeoutError, with the board's last lines, when none comes or the power goes first,
        and at once whatever the keeper's thread failed with.
        """
        wanted = re.compile(pattern)
        deadline = time.monotonic() + timeout_s
        seen = start
        with self._changed:
            while True:
                while seen < len(self.lines):
                    if match := wanted.search(self.lines[seen]):
                        return match
                    seen += 1
                self._raise_failure()
                left = deadline - time.monotonic()
                if left <= 0 or not self.is_on:
                    last = "\n".join(self.lines[-25:])
                    why = "in time" if left <= 0 else "before the power went"
                    raise TimeoutError(f"the board never said {pattern!r} {why}; it said:\n{last}")
                self._changed.wait(min(left, 0.2))

    def join(self) -> None:
        """Wait until the power is gone, which takes a power cut or `power_off`.

        Raises what the keeper's thread failed with.
        """
        while self.is_on:
            self._thread.join(0.2)  # type: ignore[union-attr]
        self._raise_failure()

    def wait_for_power_cut(self, timeout_s: float = 60) -> bool:
        """Wait until the board is off; return whether the power cut that was asked for came.

        Raises what the keeper's thread failed with.
        """
        assert self._thread is not None
        self._thread.join(timeout_s)
        self._raise_failure()
        return not self.is_on and self.power_failed

    # The keeper's thread

    def _kill(self) -> None:
        self._woken.set()
        process = self._process
        if process is not None:
            process.kill()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _keep(self) -> None:
        cause = POWER_ON
        try:
            if self._port is not None:
                self._port.read()  # what was sent to a board without power
            self.control[control.RAW_PROMPT] = 0
            while self._wanted:
                if self._port is not None and not has_program(self.flash):
                    if not self._is_in_boot_mode:
                        self._say(_NOTHING_TO_START)
                    self._is_in_boot_mode = True
                cause = self._serve_boot_rom() if self._is_in_boot_mode else self._boot(cause)
                if self.power_failed:
                    self.control.clear_rtc()
                    break
                if self._wanted:
                    self._on_restart()
        except BaseException as e:  # raised again in the thread that waits for the board
            self._failure = e
        with self._changed:
            self._changed.notify_all()

    @property
    def _chip(self) -> Chip:
        mac = b"\x5c\xcf\x7f" + self.control[control.CHIP_ID].to_bytes(3, "big")
        return self._given_chip or Chip(mac, flash_id(self.flash.stat().st_size))

    def _serve_boot_rom(self) -> int:
        # Answers as the boot ROM until the chip is reset; returns the cause of that.
        if self._port is None:
            raise CommandError("a board in boot mode needs a serial port")
        first, self._sync = self._sync, b""
        resets = self._resets
        try:
            serve(
                self.flash, self._port, self._chip, self.control, first,
                lambda: self._wanted and self._resets == resets,
            )  # fmt: skip
        except PowerCutError:
            self.control[control.REQUEST] = control.REQUEST_POWER_CUT
        if self._resets == resets:
            self._is_in_boot_mode = False
        self._next_cause = None
        return RESET_PIN

    def _boot(self, cause: int) -> int:
        # Runs the board until its process ends; returns the cause of the reset that follows.
        page = self.control
        # As in the firmware, main.py does not run where a program is at the prompt.
        scripts = self._scripts[:1] if page[control.RAW_PROMPT] else self._scripts
        page[control.REQUEST] = control.REQUEST_NONE
        page[control.RESET_CAUSE] = cause
        page[control.WATCHDOG] = 0
        self.boots += 1
        self._woken.clear()
        process = BoardProcess(
            self.flash, page, self._heap_bytes, own_bytes(), scripts, self._say, self._port
        )
        self._process = process
        if not self._wanted:
            process.kill()
        process.run()
        self._process = None
        if page[control.REQUEST] == control.REQUEST_SOFT_RESET:
            self._say(_SOFT_RESET)
            if self._port is not None:
                self._port.write(_SOFT_RESET.encode() + b"\r\n")
            return cause
        page[control.RAW_PROMPT] = 0
        if process.sync:
            self._is_in_boot_mode, self._sync = True, process.sync
            return RESET_PIN
        if process.bitten or page[control.REQUEST] == control.REQUEST_WATCHDOG:
            self._say("watchdog reset")
            return SOFTWARE_WATCHDOG
        if page[control.REQUEST] == control.REQUEST_RESET:
            return SOFT_RESTART
        if page[control.REQUEST] == control.REQUEST_DEEP_SLEEP:
            sleep_ms = page[control.SLEEP_MS]
            if not self._woken.wait(sleep_ms / 1000 if sleep_ms else None):
                return DEEP_SLEEP
        if self._next_cause is not None:
            cause, self._next_cause = self._next_cause, None
            return cause
        if self._wanted and not self.power_failed:
            self._say(f"the interpreter ended with status {process.status}")
        return EXCEPTION

    def _say(self, line: str) -> None:
        self._on_line(line)  # first, so that it is shown before whoever waits for it goes on
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()
