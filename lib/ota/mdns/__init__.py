"""The mDNS responder, which lets the Arduino IDE, PlatformIO and `mpota discover` find the board,
also as HOSTNAME.local. RFC 6762 and RFC 6763; docs/SPEC.md says what the board tells.

This module waits for datagrams, and ignores those that do not concern this board. talk.py reads the
others and writes all messages; it is loaded for that. RAM: about 800 bytes, and 500 of names.
"""

from micropython import const
from utime import ticks_add, ticks_diff, ticks_ms

from .. import log

# A datagram with many questions and answers may be longer; the rest is not read.
_LONGEST = const(512)
# The pause after a datagram that concerns this board: a flood must leave the application time.
_REST_MS = const(40)
_AGAIN_MS = const(1000)  # after what did not succeed

# The Mdns of this board; hal.reset() lets it say goodbye.
responder = None


class Mdns:
    """Answers for the application *ota*; *about* is its name and version, as strings of a TXT.

    It begins when a network was joined, and again each time that one is joined. Of ota.settings:
    `hostname`, `port`, `web_port`.
    """

    session = None  # mDNS never keeps other services from unloading their modules

    def __init__(self, ota, about):
        global responder

        self.ota = ota
        self.about = about
        # The name that is claimed, in small letters: in DNS, capital ones are the same.
        self.name = ota.settings["hostname"].lower().encode()
        # How often another host had the name; it then has a number behind it, as in `valves-2`.
        self.failures = 0
        # The UDP socket and its poll object; None before the first network, or if the port is
        # taken. The number of the network that the socket belongs to, and the board's address, four
        # bytes.
        self.socket = self.poll = self.address = None
        self.joins = 0
        # The stage of the beginning: see talk.py. When the next message is to be sent, in ticks;
        # None: when somebody asks, or when a record has changed. The records of that message, as
        # bits.
        self.stage = self.wanted = 0
        self.deadline = None
        # The times, in ticks, until which nothing is multicast, and until which nothing is read.
        self.pause_until = self.ask_at = 0
        # The facts about the board, as bits; the lowest ones are its services and the host itself.
        # And the facts that were told last.
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
                    # An update needs the heap. Datagrams are still read, so that they do not fill
                    # the memory of lwIP.
                    for _ in self.poll.ipoll(0):
                        self.socket.recvfrom(1)
                    return False
                # What came is read before what is due is sent: it may say that another host has the
                # name. Junk, and a second datagram, do not hold up what is due.
                if not 0 < ticks_diff(self.ask_at, now) <= _REST_MS:
                    for _ in self.poll.ipoll(0):
                        data, address = self.socket.recvfrom(_LONGEST)
                    if data and self._concerns(data.lower()):
                        self.ask_at = ticks_add(now, _REST_MS)
                    else:
                        data = None
                if not data and (
                    self.facts == self.told
                    if self.deadline is None
                    else ticks_diff(self.deadline, now) > 0
                ):
                    return False
            from .talk import step

            step(self, data, address)
        except Exception as e:
            # The network was lost, or the heap is full. The message is tried again.
            self.deadline = ticks_add(ticks_ms(), _AGAIN_MS)
            if type(e) is not self.error:
                self.error = type(e)
                log.error("mdns: %r", e)
        ota.unload("ota.mdns.talk", "ota.state")
        return False

    def _concerns(self, data):
        # Quickly looks for names of this board; in a response, only its own name matters.
        return self.name in data or (
            data[2:3] < b"\x80"
            and (
                b"\x08_arduino\x04" in data
                or b"\x07_dns-sd\x04" in data
                or (b"\x05_http\x04" in data and self.facts & 2)
            )
        )
