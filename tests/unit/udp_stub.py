"""A network of datagrams that replaces the listener's UDP socket, and a listener in it."""

import ota
from ota.arduino import ArduinoOTA

HOST = ("192.168.4.2", 50000)
MD5 = b"0123456789abcdefABCDEF0123456789"
SHA256 = MD5 + MD5
CLASSIC = b"0 40001 1234 " + MD5 + b"\n"
STRONG = b"0 40001 1234 " + MD5 + b" 2 " + SHA256 + b"\n"


class Ota(ota.OTA):
    """An `ota.OTA` that has not begun, with the test's settings."""

    def __init__(self, **settings):
        self.settings = {"hostname": "board"}
        self.settings.update(settings)


class Net:
    """UDP socket and poll in one: what arrives is in `inbox`, what was sent in `sent`."""

    is_closed = False

    def __init__(self):
        self.inbox = []
        self.sent = []

    def poll(self, ms):
        return [1] if self.inbox else []

    ipoll = poll

    def recvfrom(self, count):
        data, address = self.inbox.pop(0)
        return data[:count], address

    def sendto(self, text, address):
        self.sent.append((text.encode() if isinstance(text, str) else text, address))

    def close(self):
        self.is_closed = True


class Listener(ArduinoOTA):
    """A listener on a Net of its own, with *settings*; `updates` are those that it began.

    Of an update it begins, it keeps the invitation and the address, and nothing else happens.
    """

    def __init__(self, **settings):
        super().__init__(Ota(**settings))
        self.net = self.socket = self.poll = Net()
        self.ota.arduino = self
        self.ota.services = [self]
        self.updates = []

    def hears(self, data, address=HOST):
        """Let *data* arrive from *address*; return what is said after it, as (text, address)."""
        said = len(self.net.sent)
        self.net.inbox.append((data, address))
        self.handle()
        while self.next:  # on a busy machine, its time may be over before it has answered
            self.handle()
        return self.net.sent[said:]
