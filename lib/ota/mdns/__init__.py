"""The mDNS responder: by it the board shows up in the Arduino IDE, in PlatformIO and in `mpota
discover`, and is found as HOSTNAME.local. RFC 6762 and RFC 6763; what is told is in docs/SPEC.md.

Waits for datagrams, and passes over those that do not concern this board. What the others ask and
claim, and all that is said, is in talk.py, which is loaded for it. RAM: about 800 bytes, and 500 of
names.
"""

from micropython import const
from utime import ticks_add, ticks_diff, ticks_ms

from .. import log

# Of a datagram that many questions and answers make longer, the rest is not read.
_LONGEST = const(512)
# Between two datagrams that concern this board: a flood must leave the application its time.
_REST_MS = const(40)
_AGAIN_MS = const(1000)  # after what did not succeed

# The Mdns of this board. hal.reset() lets it say goodbye.
responder = None


class Mdns:
    """Answers for the application *ota*; *about* is its name and version, as strings of a TXT.

    It begins when there is a network, and again with every one that is joined later. Of
    ota.settings: `hostname`, `port`, `web_port`.
    """

    session = None  # it never keeps other services from unloading what they have loaded

    def __init__(self, ota, about):
        global responder

        self.ota = ota
        self.about = about
        # The name that is claimed, in small letters: in DNS, capital ones are the same.
        self.name = ota.settings["hostname"].lower().encode()
        # How often it was another host's; the name has a number behind it then, as in `valves-2`.
        self.failures = 0
        # The UDP socket and what tells that a datagram is there; None before the first network, and
        # where the port is taken. The count of the networks up to the one that they are of, and the
        # board's address, four bytes.
        self.socket = self.poll = self.address = None
        self.joins = 0
        # How far the beginning is: see talk.py. When the next message is to be sent, in ticks;
        # None: when somebody asks, or when what others are told has changed. The records that are
        # to be in it, as bits.
        self.stage = self.wanted = 0
        self.deadline = None
        # Until when nothing more is multicast, and nothing more is taken, in ticks.
        self.pause_until = self.ask_at = 0
        # What there is to be told of the board, as bits, of which the lowest are its services and
        # the host itself; and what of that was told last.
        self.facts = self.told = 0
        self.error = None  # the kind of the error that was said last
        responder = self

    def handle(self):
        """Do what can be done now: take one datagram, or send one. An update is not disturbed."""
        ota = self.ota
        data = address = None
        try:
            if self.joins == ota.joins:
                if self.poll is None:
                    return False
                self.facts = (
                    bool(ota.arduino.socket)
                    | bool(ota.own_web and ota.own_web.socket) << 1
                    | 4
                    | ota.trial << 3
                    | ota.healthy << 4
                    | ota.has_ended << 5
                )
                now = ticks_ms()
                if ota.is_updating:
                    # It has the heap for itself. What comes must not fill the network's meanwhile.
                    for _ in self.poll.ipoll(0):
                        self.socket.recvfrom(1)
                    return False
                if (
                    self.facts == self.told
                    if self.deadline is None
                    else ticks_diff(self.deadline, now) > 0
                ):
                    # There is nothing to be sent.
                    if 0 < ticks_diff(self.ask_at, now) <= _REST_MS:
                        return False
                    for _ in self.poll.ipoll(0):
                        data, address = self.socket.recvfrom(_LONGEST)
                    if not data or not self._concerns(data.lower()):
                        return False
                    self.ask_at = ticks_add(now, _REST_MS)
            from .talk import step

            step(self, data, address)
        except Exception as e:
            # The network went, or the heap is full. What is due is tried again.
            self.deadline = ticks_add(ticks_ms(), _AGAIN_MS)
            if type(e) is not self.error:
                self.error = type(e)
                log.error("mdns: %r", e)
        ota.unload("ota.mdns.talk", "ota.state")
        return False

    def _concerns(self, data):
        # A quick look for names of this board: of a response, only its own matters.
        return self.name in data or (
            data[2:3] < b"\x80"
            and (
                b"\x08_arduino\x04" in data
                or b"\x07_dns-sd\x04" in data
                or (b"\x05_http\x04" in data and self.facts & 2)
            )
        )
