"""Run programs on a board, and copy its files, at MicroPython's prompt on a serial port.

The work is done by the command `mpremote`.
"""

import json
import posixpath
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mpota.board.port import has_lines, open_port, press_reset
from mpota.errors import CommandError

_TIMEOUT_S = 120.0  # for one call of mpremote
_ATTEMPTS = 3
_INTERRUPT_S = 8.0
_BY_HAND_S = 45.0
_QUIET_S = 0.3
_PROMPT = b">>> "
_BUSY = ("could not enter raw repl", "timeout waiting", "could not exec command")
_FILES_A_CALL = 20  # copied by one call of mpremote

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Show no progress."""


# Prints all files of the board's own file system, with their sizes. Other file systems that are
# mounted in its folders are left out.
_LIST = """
import os, vfs, json
inner = [path for _, path in vfs.mount()]
def walk(folder):
    for name, kind, *_ in os.ilistdir(folder or "/"):
        path = folder + "/" + name
        if kind == 0x8000:
            print(json.dumps((path, os.stat(path)[6])))
        elif path not in inner:
            walk(path)
walk("")
"""
# Fails on another chip than an ESP8266, and prints what matters here of MicroPython's build.
_KIND = """
import esp, json, sys, vfs
esp.check_fw
print(json.dumps([
    sys.implementation[1], sys.implementation._mpy & 0x3FF, esp.flash_user_start(),
    len(vfs.rom_ioctl(2, 0)) if hasattr(vfs, "rom_ioctl") and vfs.rom_ioctl(1) == 1 else 0,
]))
"""


class Kind(NamedTuple):
    """The MicroPython on a board.

    `bytecode` are version and sub-version of its bytecode, as 10 bits; `file_system_start` is an
    offset in flash; `partition_bytes` is the size of its ROMFS partition, 0 where it has none.
    """

    version: str
    bytecode: int
    file_system_start: int
    partition_bytes: int


class Prompt:
    """A board with MicroPython on *port*. *tell* is called with lines for people."""

    def __init__(self, port: str, tell: Callable[[str], None]) -> None:
        self._port, self._tell = port, tell
        self._is_at_prompt = False  # whether the last call has left the board at the prompt

    def execute(self, program: str) -> str:
        """Run *program* on the board and return what it prints. Raises CommandError."""
        with tempfile.TemporaryDirectory(prefix="mpota-") as folder:
            path = Path(folder, "program.py")
            path.write_text(program)
            return self._mpremote("run", str(path))

    def kind(self) -> Kind:
        """Return what kind of MicroPython runs. Raises CommandError if it is not an ESP8266's."""
        try:
            version, *rest = json.loads(self.execute(_KIND))
        except (ValueError, _ProgramError) as error:
            raise CommandError(
                f"what runs on {self._port} is not MicroPython for the ESP8266: flash it without "
                "--keep-firmware"
            ) from error
        return Kind(".".join(map(str, version[:3])), *rest)

    def files(self) -> dict[str, int]:
        """Return all files in the board's file system: absolute name → size."""
        return dict(json.loads(line) for line in self.execute(_LIST).splitlines())

    def read(self, sizes: Mapping[str, int], progress: Progress = no_progress) -> dict[str, bytes]:
        """Return the contents of files; *sizes* maps their names to sizes, as `files` returns."""
        names, contents = list(sizes), {}
        total = sum(sizes.values())
        with tempfile.TemporaryDirectory(prefix="mpota-") as folder:
            for start in range(0, len(names), _FILES_A_CALL):
                some = names[start : start + _FILES_A_CALL]
                copies = [["fs", "cp", f":{name}", f"{folder}/{n}"] for n, name in enumerate(some)]
                self._mpremote(*_chain(copies))
                for n, name in enumerate(some):
                    contents[name] = Path(folder, str(n)).read_bytes()
                progress(sum(sizes[name] for name in contents), total)
        return contents

    def write(self, files: Mapping[str, bytes], progress: Progress = no_progress) -> None:
        """Write files. Each gets another name first: if this is interrupted, no file is cut off."""
        names, done = list(files), 0
        total = sum(map(len, files.values()))
        with tempfile.TemporaryDirectory(prefix="mpota-") as folder:
            for start in range(0, len(names), _FILES_A_CALL):
                some = names[start : start + _FILES_A_CALL]
                steps = [["exec", _make_folders(some)]]
                for n, name in enumerate(some):
                    Path(folder, str(n)).write_bytes(files[name])
                    steps.append(["fs", "cp", f"{folder}/{n}", f":{name}.new"])
                    steps.append(["exec", f"import os; os.rename({name + '.new'!r}, {name!r})"])
                self._mpremote(*_chain(steps))
                done += sum(len(files[name]) for name in some)
                progress(done, total)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that do not exist are ignored."""
        lines = [f"for name in {list(names)!r}:", " try: os.remove(name)", " except OSError: pass"]
        self.execute("\n".join(["import os", *lines]))

    def reset(self) -> None:
        """Reset the chip."""
        self._mpremote("resume", "exec", "--no-follow", "import machine; machine.reset()")
        self._is_at_prompt = False

    # mpremote

    def _mpremote(self, *arguments: str) -> str:
        for attempt in range(_ATTEMPTS):
            if not self._is_at_prompt:
                self._interrupt()
            self._is_at_prompt = False
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "mpremote", "connect", self._port, *arguments],
                    capture_output=True, timeout=_TIMEOUT_S,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                said = "mpremote did not come to an end"
            else:
                said = (done.stdout + done.stderr).decode(errors="replace")
                if done.returncode == 0:
                    self._is_at_prompt = True
                    return done.stdout.decode(errors="replace").replace("\r\n", "\n")
                if "Traceback" in said and not any(text in said for text in _BUSY):
                    raise _ProgramError(
                        f"the board failed ({_last_line(said)}): reset it and try again"
                    )
            if attempt + 1 < _ATTEMPTS:
                self._tell(f"the board is busy ({_last_line(said)}): trying again")
        raise CommandError(
            f"the board on {self._port} does not show its prompt ({_last_line(said)}): switch its "
            "power off and on, and try again"
        )

    def _interrupt(self) -> None:
        # Presses Ctrl-C until the prompt appears. Output of the program until then is dropped.
        connection = open_port(self._port)
        connection.timeout = _QUIET_S
        try:
            began, is_told = time.monotonic(), False
            while True:
                connection.write(b"\r\x03\x02")  # Ctrl-B leaves the raw prompt, if that is on
                said, quiet_from = b"", time.monotonic()
                while time.monotonic() - quiet_from < 2 * _QUIET_S:
                    came = connection.read(4096)
                    if not came:
                        break
                    said = said[-4096:] + came
                if said.endswith(_PROMPT):
                    return
                waited_s = time.monotonic() - began
                if waited_s > _INTERRUPT_S and not is_told:
                    is_told = True
                    self._tell(
                        "the application cannot be interrupted, or the board does not run "
                        f"MicroPython: press RST; waiting {_BY_HAND_S:.0f} s for the prompt"
                    )
                    if has_lines(connection):
                        press_reset(connection)
                if waited_s > _INTERRUPT_S + _BY_HAND_S:
                    raise CommandError(
                        f"the board on {self._port} does not show MicroPython's prompt: flash it "
                        "with 'mpota flash', without --keep-firmware"
                    )
        except OSError as error:
            raise CommandError(
                f"the port {self._port} went away (was the cable pulled, or the power lost?): plug "
                "it in and run the same command again"
            ) from error
        finally:
            connection.close()


class _ProgramError(CommandError):
    """A program on the board has raised an exception."""


def _chain(steps: list[list[str]]) -> list[str]:
    arguments: list[str] = []
    for step in steps:
        arguments += ["+", *step] if arguments else step
    return arguments


def _make_folders(names: Iterable[str]) -> str:
    folders: list[str] = []
    for name in names:
        parts = posixpath.dirname(name).strip("/").split("/")
        for n in range(1, len(parts) + 1):
            folder = "/" + "/".join(parts[:n])
            if folder != "/" and folder not in folders:
                folders.append(folder)
    return "\n".join(
        ["import os", f"for name in {folders!r}:", " try: os.mkdir(name)", " except OSError: pass"]
    )


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1].strip()
