"""A table of names outside the heap, beside those that the interpreter was built with.

Every name that a program uses has an entry in one of the interpreter's tables of names, the
`qstr_pool_t` of MicroPython's py/qstr.h. The tables of the firmware, with the names that its own
modules use, are in the chip's flash. For names that programs add there is one in the heap, which
grows in ever larger pieces and never shrinks: without this, the names that the simulated board's
own modules use would be in there.
"""

import ctypes
import mmap

_NAME = ctypes.c_char_p


class _Head(ctypes.Structure):
    """What a table begins with; pointers to its names follow."""


_Head._fields_ = [
    ("prev", ctypes.POINTER(_Head)),
    ("total_prev_len", ctypes.c_size_t, 63),
    ("is_sorted", ctypes.c_size_t, 1),
    ("alloc", ctypes.c_size_t),
    ("len", ctypes.c_size_t),
    ("hashes", ctypes.POINTER(ctypes.c_uint16)),
    ("lengths", ctypes.POINTER(ctypes.c_uint8)),
]

# What the interpreter reads as long as it runs.
_kept: list[object] = []


def add(interpreter: ctypes.CDLL, names: list[str]) -> None:
    """Give *interpreter*, which has not begun to run, *names* in a table outside its heap.

    The last of its own tables moves, and the new one takes its place, where the interpreter begins
    to look. Raises ValueError for more names than that place has room for.
    """
    last = _Head.in_dll(interpreter, "mp_qstr_frozen_const_pool")
    known: set[bytes] = set()
    table = ctypes.pointer(last)
    while table:
        known.update(_names_of(table.contents))
        table = table.contents.prev
    new = [name for name in map(str.encode, names) if name not in known]
    if len(new) > last.len:
        raise ValueError(f"{len(new)} names: there is room for {last.len}")
    hashes = (ctypes.c_uint16 * len(new))(*map(_hash, new))
    lengths = (ctypes.c_uint8 * len(new))(*map(len, new))
    pointers = (_NAME * len(new))(*new)
    size = ctypes.sizeof(_Head) + last.len * ctypes.sizeof(_NAME)
    moved = ctypes.create_string_buffer(ctypes.string_at(ctypes.addressof(last), size), size)
    _kept.extend([new, hashes, lengths, moved])
    _make_writable(interpreter, ctypes.addressof(last), size)
    last.prev = ctypes.cast(moved, ctypes.POINTER(_Head))
    last.total_prev_len += last.len
    last.is_sorted = 0
    last.len = len(new)
    last.hashes = ctypes.cast(hashes, ctypes.POINTER(ctypes.c_uint16))
    last.lengths = ctypes.cast(lengths, ctypes.POINTER(ctypes.c_uint8))
    ctypes.memmove(_names_of(last), pointers, ctypes.sizeof(pointers))


def _names_of(head: _Head) -> ctypes.Array:
    return (_NAME * head.len).from_address(ctypes.addressof(head) + ctypes.sizeof(_Head))


def _hash(name: bytes) -> int:
    # djb2, as in qstr_compute_hash() of py/qstr.c
    value = 5381
    for byte in name:
        value = value * 33 ^ byte
    return value & 0xFFFF or 1


def _make_writable(interpreter: ctypes.CDLL, address: int, size: int) -> None:
    # Read-only since the loader was through with it.
    begin = address // mmap.PAGESIZE * mmap.PAGESIZE
    access = mmap.PROT_READ | mmap.PROT_WRITE
    if interpreter.mprotect(
        ctypes.c_void_p(begin), ctypes.c_size_t(address + size - begin), access
    ):
        raise OSError("the interpreter's tables of names cannot be made writable")
