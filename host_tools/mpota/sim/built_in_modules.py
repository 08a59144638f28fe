"""Room for the board's own modules in the interpreter's tables of built-in ones.

With its modules there the simulated board imports by the interpreter's own rules, the chip's.
rom_modules/names.py has the names, and what the two tables are for.
"""

import ctypes
import mmap

from rom_modules.names import ADDED, FROZEN, MISSING, REPLACED


class _Entry(ctypes.Structure):
    _fields_ = [("name", ctypes.c_size_t), ("module", ctypes.c_size_t)]


class _Table(ctypes.Structure):
    """An `mp_map_t` of MicroPython's py/obj.h."""

    _fields_ = [
        ("flags", ctypes.c_size_t, 3),
        ("used", ctypes.c_size_t, 61),
        ("alloc", ctypes.c_size_t),
        ("entries", ctypes.POINTER(_Entry)),
    ]


# The tables' new entries, which the interpreter reads as long as it runs.
_kept: list[ctypes.Array[_Entry]] = []


def places(interpreter: ctypes.CDLL) -> list[int]:
    """Return where the modules REPLACED, ADDED, FROZEN and MISSING are entered, in this order.

    *interpreter* must not have begun to run. An entry is the module's name, then the module, as
    MicroPython objects. The interpreter's own modules give up their entries.
    """
    more = len(ADDED) + len(FROZEN) + len(MISSING)
    first = _move(interpreter, "mp_builtin_module_map", more)
    second = _move(interpreter, "mp_builtin_extensible_module_map", 0)
    by_module = {entry.module: entry for entry in [*first, *second]}
    replaced = [
        by_module[ctypes.addressof(ctypes.c_char.in_dll(interpreter, f"mp_module_{name}"))]
        for name in REPLACED
    ]
    return [ctypes.addressof(entry) for entry in [*replaced, *first[-more:]]]


def _move(interpreter: ctypes.CDLL, name: str, more: int) -> ctypes.Array[_Entry]:
    # Gives the table *name* entries that can be written, *more* than it had, and returns them.
    table = _Table.in_dll(interpreter, name)
    _make_writable(interpreter, table)
    entries: ctypes.Array[_Entry] = (_Entry * (table.used + more))()
    ctypes.memmove(entries, table.entries, table.used * ctypes.sizeof(_Entry))
    _kept.append(entries)
    table.used = table.alloc = len(entries)
    table.entries = entries
    return entries


def _make_writable(interpreter: ctypes.CDLL, table: _Table) -> None:
    # The loader made it read-only.
    begin = ctypes.addressof(table) // mmap.PAGESIZE * mmap.PAGESIZE
    size = ctypes.addressof(table) + ctypes.sizeof(table) - begin
    access = mmap.PROT_READ | mmap.PROT_WRITE
    if interpreter.mprotect(ctypes.c_void_p(begin), ctypes.c_size_t(size), access):
        raise RuntimeError("the interpreter's tables of modules cannot be made writable")
