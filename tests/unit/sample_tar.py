"""Tars made by hand, good and bad, for the tests that run on the board."""

BLOCK = 512
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
V7 = bytes(8)


def header(name, size=0, kind=b"0", magic=USTAR, prefix=b"", **fields):
    """Return the header of an entry; *fields* are bytes for `mode`, `size_field` or `sum_field`."""
    size_field = fields.get("size_field", b"%011o\0" % size)
    block = name + bytes(100 - len(name))
    block += b"0000644\0" + b"0000000\0" * 2 + size_field + b"%011o\0" % 0
    block += b" " * 8 + kind + bytes(100) + magic + bytes(32 + 32 + 16)
    block += prefix + bytes(155 - len(prefix)) + bytes(12)
    assert len(block) == BLOCK
    total = b"%06o\0 " % sum(block)
    return block[:148] + fields.get("sum_field", total) + block[156:]


def entry(name, data=b"", **fields):
    """Return the header and the content of a file."""
    return header(name, len(data), **fields) + data + bytes(-len(data) % BLOCK)


def tar(*entries):
    """Return a tar of *entries*."""
    return b"".join(entries) + bytes(2 * BLOCK)


def tar_of(files, **fields):
    """Return a tar of *files*, a dict of name to content, both bytes."""
    return tar(*[entry(name, files[name], **fields) for name in files])
