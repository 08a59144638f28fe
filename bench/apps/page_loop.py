"""The least that receiving an image costs: read it, and write whole pages of flash, in the order of
the package. measure.py puts this code before the scripts that let an image come.
"""

import esp

_SLOT = 0xE7000
_PAGE = 256
_SECTOR = 4096
_GATHERED = 4 * _PAGE
_CHUNK = 1460


def flush(at, pages):
    # Programs the gathered *pages*; a sector is erased when the first byte of it comes.
    for sector_at in range((at + _SECTOR - 1) & -_SECTOR, at + len(pages), _SECTOR):
        esp.flash_erase((_SLOT + sector_at) // _SECTOR)
    esp.flash_write(_SLOT + at, pages)


def receive(tcp, left, is_counting):
    # Receives *left* bytes into the slot; with *is_counting*, acknowledges them as ArduinoOTA does.
    block = memoryview(bytearray(3000))
    buffer = block[:_CHUNK]
    pages = block[_CHUNK : _CHUNK + _GATHERED]
    at = filled = 0
    while left:
        n = tcp.readinto(buffer[: min(left, _CHUNK)])
        if is_counting:
            tcp.write(b"%d" % n)
        left -= n
        taken = 0
        while taken < n:
            count = min(n - taken, _GATHERED - filled)
            pages[filled : filled + count] = buffer[taken : taken + count]
            taken += count
            filled += count
            if filled == _GATHERED:
                flush(at, pages)
                at += filled
                filled = 0
    if filled:
        flush(at, pages[: (filled + _PAGE - 1) & -_PAGE])
