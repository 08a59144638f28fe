"""The least that a download can cost on this board: ask, and receive as in page_loop.py."""

import socket
import time

_REQUEST = b"""GET / HTTP/1.0
User-Agent: ESP8266-http-Update
x-ESP8266-STA-MAC: 5C:CF:7F:00:00:01
x-ESP8266-mode: sketch

"""

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
receive(tcp, left, False)  # noqa: F821
print("took", time.ticks_diff(time.ticks_us(), begun))
