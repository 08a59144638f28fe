"""The timer interrupt of the board: has MicroPython call the timers that are due.

They are called between two bytecodes, whatever the program is doing; other than on the chip, not
before a call of a socket that blocks is over, nor more often than once in a tick.

The SDK of the chip has a watchdog of its own, which bites when the interpreter's own code hangs
between two bytecodes. Here it does so while there are timers, after as much processor time as
machine.WDT waits: so a busy machine does no harm.
"""

import ctypes
import mmap
import os
import signal
import threading
import time

from rom_modules import control

_TICK_S = 0.01
# Linux on x86-64: poll, select, pselect6 and ppoll, which MicroPython resumes after a signal for
# the time that is left, and read from the console. A socket's own timeout would begin anew.
_WAITS = (b"7 ", b"23 ", b"270 ", b"271 ", b"0 0x0 ")


def start(interpreter: ctypes.CDLL, page: mmap.mmap) -> None:
    """Interrupt *interpreter*, which this thread is to run, while *page* says that it has timers.

    *page* is the control page.
    """
    function = ctypes.c_uint64.from_buffer(page, control.TIMERS)
    ticked = ctypes.c_uint32.from_buffer(page, control.TICKED)
    function.value = ticked.value = 0  # of an earlier boot
    schedule = interpreter.mp_sched_schedule
    schedule.restype = ctypes.c_bool
    signal.signal(signal.SIGUSR1, lambda *_: None)
    main = threading.get_ident()
    limit_s = ctypes.c_uint32.from_buffer(page, control.WATCHDOG_MS).value / 1000
    request = ctypes.c_uint32.from_buffer(page, control.REQUEST)
    doing = _open(f"/proc/self/task/{threading.get_native_id()}/syscall")

    def tick_for_ever() -> None:
        called_at = time.process_time()
        while True:
            time.sleep(_TICK_S)
            if not function.value:
                continue
            if ticked.value:
                if time.process_time() - called_at > limit_s:
                    request.value = control.REQUEST_WATCHDOG
                    os.kill(os.getpid(), signal.SIGKILL)
            else:
                called_at = time.process_time()
                address = ctypes.c_void_p(function.value)
                ticked.value = 1  # before the call may come
                if not schedule(address, address):  # the queue is full; the argument may be any
                    ticked.value = 0
            if doing is not None and os.pread(doing, 6, 0).startswith(_WAITS):
                signal.pthread_kill(main, signal.SIGUSR1)

    threading.Thread(target=tick_for_ever, daemon=True).start()


def _open(path: str) -> int | None:
    # None with a kernel that does not tell: timers are called when the wait is over.
    try:
        return os.open(path, os.O_RDONLY)
    except OSError:
        return None
