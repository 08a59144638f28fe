"""The receiver of the board's serial port: it passes bytes to the program; Ctrl-C interrupts.

As on the chip, a Ctrl-C that comes while a program runs raises KeyboardInterrupt in it and is not
among the bytes that it reads; at the prompt it is a byte like any other.
"""

import ctypes
import mmap
import os
import signal
import threading
import time

from rom_modules import control

_CTRL_C = b"\x03"
_CHUNK = 4096
_AGAIN_S = 0.01
_TIMES = 3
_SIGACTION_BYTES = 256  # more than a struct sigaction has; it begins with the handler


def start(interpreter: ctypes.CDLL, page: mmap.mmap) -> None:
    """Hand what comes on the standard input to *interpreter*, which this thread is to run.

    *page* is the control page.
    """
    may_interrupt = ctypes.c_uint32.from_buffer(page, control.MAY_INTERRUPT)
    may_interrupt.value = 0  # of an earlier boot
    # The interpreter sets a handler for the signal of Ctrl-C while a program runs, and none at the
    # prompt. The signal itself is not used: two at once would end the process.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(_SIGACTION_BYTES)
    main = threading.get_ident()
    line = os.dup(0)
    program, typed = os.pipe()
    os.dup2(program, 0)
    os.close(program)

    def runs_a_program() -> bool:
        libc.sigaction(signal.SIGINT, None, action)
        return bool(may_interrupt.value and ctypes.c_size_t.from_buffer(action).value)

    def interrupt() -> None:
        interpreter.mp_sched_keyboard_interrupt()
        for _ in range(_TIMES):  # a wait that begins just now would miss the first signal
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(_AGAIN_S)

    def receive() -> None:
        while data := os.read(line, _CHUNK):
            *before, last = data.split(_CTRL_C)
            for text in before:
                os.write(typed, text)
                if runs_a_program():
                    interrupt()
                else:
                    os.write(typed, _CTRL_C)
            os.write(typed, last)

    threading.Thread(target=receive, daemon=True).start()
