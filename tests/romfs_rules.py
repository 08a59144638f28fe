"""The rules of docs/SPEC.md for the ROMFS of an image, without code of the board or the host."""

import re

_PADDING, _DATA, _FOLDER, _FILE = 1, 2, 4, 5
_NAME = re.compile(rb"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}")
_DEEPEST = 8


def is_good(image: bytes) -> bool:
    """Tell whether the ROMFS that *image* begins with keeps all rules."""
    if image[:3] != b"\xd2\xcd\x31":
        return False
    try:
        content = _bytes(image[3:])[0]
        return _is_folder(content, 0)
    except ValueError:
        return False


def _is_folder(records: bytes, depth: int) -> bool:
    while records:
        kind, records = _number(records)
        content, records = _bytes(records)
        if kind == _PADDING:
            continue
        if kind not in (_FOLDER, _FILE) or kind == _FOLDER and depth == _DEEPEST:
            return False
        name, inside = _bytes(content)
        if not _NAME.fullmatch(name):
            return False
        if not (_is_folder(inside, depth + 1) if kind == _FOLDER else _is_file(inside)):
            return False
    return True


def _is_file(records: bytes) -> bool:
    kind, rest = _number(records)
    _, rest = _bytes(rest)
    if kind == _PADDING:
        kind, rest = _number(rest)
        _, rest = _bytes(rest)
    return kind == _DATA and not rest


def _bytes(data: bytes) -> tuple[bytes, bytes]:
    """Read a length and that many bytes from *data*; return these bytes, and the rest."""
    length, data = _number(data)
    if length > len(data):
        raise ValueError
    return data[:length], data[length:]


def _number(data: bytes) -> tuple[int, bytes]:
    for size in range(1, 6):
        if size > len(data):
            break
        if data[size - 1] < 0x80:
            value = int("".join(f"{byte & 0x7F:07b}" for byte in data[:size]), 2)
            if value >> 28:
                break
            return value, data[size:]
    raise ValueError
