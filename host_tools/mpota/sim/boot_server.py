"""The boots of simulated boards, each a copy (fork) of this process: MicroPython is run in it.

Started by boots.py as `python -S -E boot_server.py SITE`. Its standard input is a socket on which
messages come, lists as JSON, each of which gets a number as its answer:

- `["start", FLASH, ROM, HEAP, OWN, SCRIPT…]`, with the files for the standard input and output and
  the control page: the number of the process. HEAP is the size of the interpreter's heap in bytes,
  of which OWN are for the board's own modules. The code of these sits in a ROM outside the heap
  and runs in place, as the chip's does.
- `["wait", PROCESS]`, when it has ended: its exit status.
"""

import ctypes
import json
import mmap
import os
import signal
import socket
import sys

import built_in_modules
import console_input
import flash_map
import ticks
import timer_interrupt
from rom_modules import control

_PR_SET_PDEATHSIG = 1
_LONGEST_MESSAGE = 65536  # bytes

# It is compiled in the board's heap and stays there, so the rest is in rom_modules/power.py.
_PROGRAM = """
import sys, uctypes, vfs
vfs.mount(vfs.VfsRom(uctypes.bytearray_at({}, {})), "/sim")
sys.path[:] = ["/sim", "/sim/frozen"]
import power
power.on({}, {}, {}, {}, {}, {}, {})
"""


def _map(fd: int, access: int) -> mmap.mmap:
    return mmap.mmap(fd, os.fstat(fd).st_size, access=access)


def _address(mapped: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(mapped))


def _last_table_at(interpreter: ctypes.CDLL) -> int:
    # Returns where the interpreter keeps the pointer to its newest table of names, the `last_pool`
    # of MicroPython's py/mpstate.h: where qstr_init() puts the one that it was built with.
    first = ctypes.addressof(ctypes.c_char.in_dll(interpreter, "mp_qstr_frozen_const_pool"))
    state = (ctypes.c_size_t * 64).in_dll(interpreter, "mp_state_ctx")
    interpreter.qstr_init()
    return ctypes.addressof(state) + list(state).index(first) * ctypes.sizeof(ctypes.c_size_t)


def main() -> None:
    sys.path.append(sys.argv[1])
    import micropython_run

    # Called by its C entry, the interpreter leaves Python's other threads running.
    interpreter = ctypes.CDLL(micropython_run.__file__)
    libc = ctypes.CDLL(None)
    messages = socket.socket(fileno=0)
    while True:
        data, fds, _, _ = socket.recv_fds(messages, _LONGEST_MESSAGE, 3)
        if not data:  # the process that started this one has ended
            os._exit(0)
        command, *arguments = json.loads(data)
        if command == "wait":
            _, status = os.waitpid(int(arguments[0]), 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                messages.close()
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                os.setsid()
                for fd, to in ((fds[0], 0), (fds[1], 1), (fds[1], 2)):
                    os.dup2(fd, to)
                os.close(fds[0])
                os.close(fds[1])
                boot(interpreter, libc, fds[2], *arguments)
            for fd in fds:
                os.close(fd)
        messages.send(b"%d" % answer)


def boot(interpreter: ctypes.CDLL, libc: ctypes.CDLL, page_fd: int, *arguments: str) -> None:
    """Be the board until its process ends."""
    flash_path, rom_path, heap, own, *scripts = arguments
    places = built_in_modules.places(interpreter)
    last_table_at = _last_table_at(interpreter)
    flash = _map(os.open(flash_path, os.O_RDWR), mmap.ACCESS_WRITE)
    page = _map(page_fd, mmap.ACCESS_WRITE)
    rom = _map(os.open(rom_path, os.O_RDONLY), mmap.ACCESS_COPY)

    def word(offset: int) -> ctypes.c_uint32:
        return ctypes.c_uint32.from_buffer(page, offset)

    try:
        flash_map.map_flash(flash)
        ticks.begin_ticks(interpreter, word(control.TICKS).value)
    except RuntimeError as e:
        os.write(1, f"{e}\n".encode())
        os._exit(control.CANNOT_START)
    console_input.start(interpreter, page)
    timer_interrupt.start(interpreter, page)
    prompt = ctypes.c_int.in_dll(interpreter, "pyexec_mode_kind")
    prompt.value = word(control.RAW_PROMPT).value
    program = _PROGRAM.format(
        _address(rom), len(rom), _address(page), _address(flash), len(flash),
        places, last_table_at, own, scripts,
    )  # fmt: skip
    command = ["micropython", "-X", f"heapsize={heap}", "-i", "-c", program]
    argv = (ctypes.c_char_p * (len(command) + 1))(*[part.encode() for part in command])
    interpreter.micropython_unix_main(len(command), argv)
    # The prompt was left by Ctrl-D, or by sys.exit().
    word(control.RAW_PROMPT).value = prompt.value
    word(control.REQUEST).value = control.REQUEST_SOFT_RESET
    libc.fflush(None)
    os._exit(0)


main()
