"""The least that a download can cost on this board: ask, receive, and write whole pages of flash,
in the order of the package.
"""

import socket
import time

import esp

_SLOT = 0xDD000
_PAGE = 256
_SECTOR = 4096
_GATHERED = 4 * _PAGE
_CHUNK = 1460
_REQUEST = b"""GET / HTTP/1.0
User-Agent: ESP8266-http-Update
x-ESP8266-STA-MAC: 5C:CF:7F:00:00:01
x-ESP8266-mode: sketch

"""


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


block = memoryview(bytearray(3000))
tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
tcp.connect(("127.0.0.1", {port}))
tcp.write(_REQUEST.replace(b"\n", b"\r\n"))
left = 0
while True:
    line = tcp.readline(200).strip()
    if not line:
        break
    if line.startswith(b"Content-Length: "):
        left = int(line[16:])
begun = time.ticks_us()
receive(tcp, left, block)
print("took", time.ticks_diff(time.ticks_us(), begun))
