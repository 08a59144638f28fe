"""The keeper's view of the control page (see rom_modules/control.py for its layout)."""

import ctypes
import mmap
import tempfile

from mpota.sim.rom_modules import control


class ControlPage:
    """Shared words and strings; `fd` is what the board's process maps."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="mpota-")  # noqa: SIM115
        self._file.truncate(control.SIZE)
        self.fd = self._file.fileno()
        self._map = mmap.mmap(self.fd, control.SIZE)

    def __getitem__(self, offset: int) -> int:
        return ctypes.c_uint32.from_buffer(self._map, offset).value

    def __setitem__(self, offset: int, value: int) -> None:
        ctypes.c_uint32.from_buffer(self._map, offset).value = value

    def set_text(self, offset: int, text: str, size: int) -> None:
        self._map[offset : offset + size] = text.encode().ljust(size, b"\0")

    def text(self, offset: int, size: int) -> str:
        return self._map[offset : offset + size].split(b"\0", 1)[0].decode(errors="replace")

    def clear_rtc(self) -> None:
        """Clear what a power cut clears: on the chip, RTC memory then holds random bytes."""
        self._map[control.RTC : control.RTC + control.RTC_SIZE] = b"\xa5" * control.RTC_SIZE
