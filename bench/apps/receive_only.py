"""The least that an upload can cost on this board: receive, count, and write whole pages of flash,
in the order of the package.
"""

import socket

import esp

_SLOT = 0xE7000
_PAGE = 256
_SECTOR = 4096
_GATHERED = 6 * _PAGE
_CHUNK = 1460


def flush(at, pages):
    # Programs the gathered *pages*; a sector is erased when the first byte of it comes.
    for sector_at in range((at + _SECTOR - 1) & -_SECTOR, at + len(pages), _SECTOR):
        esp.flash_erase((_SLOT + sector_at) // _SECTOR)
    esp.flash_write(_SLOT + at, pages)


def receive(tcp, left, block):
    buffer = block[:_CHUNK]
    pages = block[_CHUNK : _CHUNK + _GATHERED]
    at = filled = 0
    while left:
        n = tcp.readinto(buffer[: min(left, _CHUNK)])
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


print("application runs")
block = memoryview(bytearray(3000))
while True:
    invitations = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    invitations.bind(("", 8266))
    print("waiting")
    data, address = invitations.recvfrom(256)
    words = data.split()
    invitations.sendto("OK", address)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.connect((address[0], int(words[1])))
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    receive(tcp, int(words[2]), block)
    tcp.write("OK")
    tcp.close()
    invitations.close()
