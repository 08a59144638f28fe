"""A network of mDNS messages that replaces the responder's socket, and a reader for them."""

import ustruct
from fake_clock import Clock
from ota import log, mdns
from ota.mdns import talk
from udp_stub import Net, Ota

GROUP = ("224.0.0.251", 5353)
PEER = ("192.168.4.2", 5353)
RESOLVER = ("192.168.4.2", 50000)  # one that knows no mDNS

A, PTR, TXT, AAAA, SRV, NSEC, ANY = 1, 12, 16, 28, 33, 47, 255
ARDUINO = "_arduino._tcp.local"
HTTP = "_http._tcp.local"
SERVICES = "_services._dns-sd._udp.local"


def wire(name):
    """Return *name* as it stands in a message."""
    labels = [bytes([len(label)]) + label.encode() for label in name.split(".")]
    return b"".join(labels) + b"\0"


def question(name, kind, class_=1):
    return wire(name) + ustruct.pack(">HH", kind, class_)


def record(name, kind, data, ttl=120, class_=1):
    return wire(name) + ustruct.pack(">HHIH", kind, class_, ttl, len(data)) + data


def message(questions=(), answers=(), claims=(), more=(), flags=0, number=0):
    counts = [len(part) for part in (questions, answers, claims, more)]
    head = ustruct.pack(">HHHHHH", number, flags, *counts)
    return head + b"".join(list(questions) + list(answers) + list(claims) + list(more))


def _read_name(data, at):
    labels = []
    end = None
    while data[at]:
        if data[at] >= 192:
            end = end or at + 2
            at = (data[at] & 63) << 8 | data[at + 1]
        else:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
    return ".".join(labels), end or at + 1


class Record:
    """A record that was read; `data` is a name, (port, name), texts or bytes, by its kind."""

    def __init__(self, data, at):
        self.name, at = _read_name(data, at)
        self.kind, self.class_, self.ttl, size = ustruct.unpack_from(">HHIH", data, at)
        at += 10
        self.end = at + size
        self.data = bytes(data[at : self.end])
        if self.kind in (PTR, NSEC):
            self.data, after = _read_name(data, at)
            assert self.kind == NSEC or after == self.end
        elif self.kind == SRV:
            name, after = _read_name(data, at + 6)
            assert after == self.end
            self.data = ustruct.unpack_from(">H", data, at + 4)[0], name
        elif self.kind == TXT:
            texts = []
            while at < self.end:
                texts.append(data[at + 1 : at + 1 + data[at]].decode())
                at += 1 + data[at]
            assert at == self.end
            self.data = texts

    @property
    def what(self):
        return self.name, self.kind


class Message:
    """A message that was sent, read: its `number`, `flags`, `questions` and records."""

    def __init__(self, data):
        self.number, self.flags, *counts = ustruct.unpack_from(">HHHHHH", data, 0)
        at = 12
        self.questions = []
        for _ in range(counts[0]):
            name, at = _read_name(data, at)
            self.questions.append((name,) + ustruct.unpack_from(">HH", data, at))
            at += 4
        sections = []
        for count in counts[1:]:
            records = []
            for _ in range(count):
                records.append(Record(data, at))
                at = records[-1].end
            sections.append(records)
        self.answers, self.claims, self.more = sections
        assert at == len(data)

    def __getitem__(self, what):
        """Return the record (name, kind)."""
        (found,) = [r for r in self.answers + self.claims + self.more if r.what == what]
        return found

    @property
    def names(self):
        """The records of the answer: a list of (name, kind)."""
        return sorted([r.what for r in self.answers])


class Station:
    address = "192.168.4.9"

    def ifconfig(self):
        return (self.address,)


class Page:
    socket = None
    is_updating = False


class Board(Clock):
    """A responder on a Net of its own, and the time it goes by; *settings* are the board's.

    `lines` are what is logged. The name is claimed and told when it is entered, unless *is_new*.
    """

    def __init__(self, is_new=False, **settings):
        self.net = Net()
        self.ota = Ota(**settings)
        self.ota.station = Station()
        self.ota.joins = 1
        self.ota.arduino = self.ota.own_web = None
        self.ota.arduino = Page()
        self.ota.arduino.session = None
        self.ota.arduino.socket = self.net
        self.ota.own_web = Page()
        self.ota.slot = "a"
        self.mdns = mdns.Mdns(self.ota, b"\x0aapp=garden\x0dversion=1.4.0")
        self._is_new = is_new

    def __enter__(self):
        super().__enter__()
        self.lines = []
        self._real = log.info, log.error, talk._begin
        log.info = log.error = lambda text, *args: self.lines.append(text % args)
        talk._begin = self._begin
        if not self._is_new:
            self.wait_for(3000)
            del self.net.sent[:]
            del self.lines[:]
        return self

    def __exit__(self, *_):
        super().__exit__()
        log.info, log.error, talk._begin = self._real

    def _begin(self, responder, now):
        # In place of opening a socket.
        responder.joins = self.ota.joins
        responder.socket = responder.poll = self.net
        talk._claim(responder, now, 0)

    def wait_for(self, ms):
        """Let the application call handle() every 10 ms for so long."""
        end = self.now + ms
        while self.now < end:
            self.mdns.handle()
            self.wait(10)

    def sent(self):
        """Return what was sent since this was called last, as (Message, address), in order."""
        sent = [(Message(data), address) for data, address in self.net.sent]
        del self.net.sent[:]
        return sent

    def hears(self, data, address=PEER, ms=200):
        """Let *data* arrive from *address*; return what is said in the next *ms*."""
        self.net.inbox.append((data, address))
        self.wait_for(ms)
        return self.sent()

    def asked(self, name, kind, **more):
        """Let a query arrive that asks for one name; return the one Message that answers it."""
        ((answer, address),) = self.hears(message([question(name, kind)], **more))
        assert address == GROUP and answer.flags == 0x8400 and answer.questions == []
        return answer
