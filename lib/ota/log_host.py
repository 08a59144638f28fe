"""Log lines by datagrams, to the host of the setting `log_host`; loaded only where there is one.

A line can get lost, and everybody in the network can read it. RAM: about 500 bytes.
"""

import sys

import uio
from micropython import const
from usocket import AF_INET, SOCK_DGRAM, socket

from . import log

_PORT = const(8267)
_LONGEST = const(1000)  # bytes of a datagram: what is longer is cut off


def begin(host):
    """Send what is logged from now on to *host*, "ADDRESS" or "ADDRESS:PORT"."""
    colon = host.find(":")
    ip = host if colon < 0 else host[:colon]
    port = str(_PORT) if colon < 0 else host[colon + 1 :]
    numbers = ip.split(".") + [port]
    if len(numbers) != 5 or not all(number.isdigit() for number in numbers):
        log.error("ota.json: log_host must be like 192.168.0.2 or 192.168.0.2:8267: it is ignored")
        return
    address = (ip, int(port))
    udp = socket(AF_INET, SOCK_DGRAM)
    udp.setblocking(False)

    def send(what):
        # Sends a text, or the traceback of an exception. It is lost if there is no network, no
        # memory, or no such address.
        try:
            if isinstance(what, BaseException):
                trace = uio.StringIO()
                sys.print_exception(what, trace)
                what = trace.getvalue()
            udp.sendto(what.encode()[:_LONGEST], address)
        except (OSError, ValueError, MemoryError):
            pass

    log.sender = send
