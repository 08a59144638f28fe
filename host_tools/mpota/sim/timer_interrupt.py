"""The timer interrupt of the board: has MicroPython call the timers that are due.

As on the chip, they are called between two bytecodes, whatever the program is doing.
"""

import ctypes
import mmap
import signal
import threading
import time
from pathlib import Path

from rom_modules import control

_TICK_S = 0.01
# Calls of Linux on x86-64 that are gone on with after a signal: poll, select, pselect6, ppoll. (A
# socket's own timeout would begin anew.)
_WAITS = ("7 ", "23 ", "270 ", "271 ")


def start(interpreter: ctypes.CDLL, page: mmap.mmap) -> None:
    """Interrupt *interpreter*, which this thread is to run, while *page* says that it has timers.

    *page* is the control page.
    """
    function = ctypes.c_uint64.from_buffer(page, control.TIMERS)
    ticked = ctypes.c_uint32.from_buffer(page, control.TICKED)
    function.value = ticked.value = 0  # of an earlier boot
    signal.signal(signal.SIGUSR1, lambda *_: None)
    main = threading.get_ident()
    waits_in = Path(f"/proc/self/task/{threading.get_native_id()}/syscall")

    def tick() -> None:
        while True:
            time.sleep(_TICK_S)
            if not function.value:
                continue
            if not ticked.value:
                ticked.value = 1
                address = ctypes.c_void_p(function.value)
                interpreter.mp_sched_schedule(address, address)
            if waits_in.read_text().startswith(_WAITS):
                signal.pthread_kill(main, signal.SIGUSR1)

    threading.Thread(target=tick, daemon=True).start()
