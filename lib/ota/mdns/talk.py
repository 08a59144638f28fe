"""mDNS's messages: read the questions and claims of other hosts, and write those of this board.
Loaded while a message is read or written. RFC 6762 and RFC 6763; docs/SPEC.md has the records.

RAM: about 2.2 KB while loaded, a message that is read and one that is written included.
"""

from micropython import const
from uos import urandom
from ustruct import pack, unpack_from
from utime import sleep_ms, ticks_add, ticks_diff, ticks_ms

from .. import log
from ..state import state

_PORT = const(5353)
_GROUP = const(("224.0.0.251", 5353))
_GROUP_BYTES = const(b"\xe0\x00\x00\xfb")

# Stages: how many messages of the beginning were sent. The first three ask whether another host has
# the names; after these the names are the board's, and two messages tell all records.
_CLAIMED = const(3)
_TOLD = const(5)

# Names as they stand in a message: each label behind its length.
_LOCAL = const(b"\x05local\x00")
_ARDUINO = const(b"\x08_arduino\x04_tcp\x05local\x00")
_HTTP = const(b"\x05_http\x04_tcp\x05local\x00")
_SERVICES = const(b"\x09_services\x07_dns-sd\x04_udp\x05local\x00")

# Types of records (RFC 1035, 2782, 4034), the one that asks for all, and the class of all records.
_A = const(1)
_PTR = const(12)
_TXT = const(16)
_SRV = const(33)
_NSEC = const(47)
_ANY = const(255)
_IN = const(1)

# In `facts`: the services `arduino` and `http`, and the host itself.
_SERVICE_BITS = const(7)
_HOST_BIT = const(4)

_HEAD_BYTES = const(12)  # of a message
_ALL = const(0xFFFF)  # records in the order of _records(), as bits

_TTL_S = const(4500)
_HOST_TTL_S = const(120)  # of records that hold the host's name or address
_LEGACY_TTL_S = const(10)

# Limits for reading: the records of a message, the bytes of a name, and the pointers in a name.
_MOST_RECORDS = const(48)
_LONGEST_NAME = const(255)
_MOST_JUMPS = const(10)

_LONGEST_LABEL = const(32)  # the chip's own limit of a host name
_CLAIM_MS = const(250)  # between two questions whether anybody has the name
# The least pause between a conflict and the next question for the name: the other host, which may
# say its claim twice, has then said it.
_CONFLICT_MS = const(100)
_MOST_WAITING = const(32)  # of the datagrams that wait to be read, so many are dropped at once
_TELL_MS = const(1000)  # between two messages of the same records
# After more failures than this, another host seems to claim every name.
_MANY_FAILURES = const(15)
_FAILURES_MS = const(5000)
_SETTLE_MS = const(100)  # for the goodbye to leave the chip before it restarts

_ARDUINO_TEXT = const(b"\x0ctcp_check=no\x0dssh_upload=no\x15board=ESP8266_GENERIC")
_HTTP_TEXT = const(b"\x0cpath=/update")


def step(mdns, data, address):
    """Read the message *data* from *address*, if there is one, or send the message that is due."""
    now = ticks_ms()
    mdns.address = bytes([int(part) for part in mdns.ota.address.split(".")])
    if mdns.joins != mdns.ota.joins:
        _begin(mdns, now)
    elif data:
        _take(mdns, data, address, now)
    elif mdns.stage < _CLAIMED:
        if not mdns.stage:
            _drop_waiting(mdns)
        mdns.socket.sendto(_message(mdns, _ALL, mdns.facts, count_at=9), _GROUP)
        mdns.deadline = ticks_add(ticks_ms(), _CLAIM_MS)
        mdns.stage += 1
    else:
        if mdns.stage == _TOLD and not mdns.wanted:
            # Something has changed: it is told twice, and records that are gone are taken back.
            if mdns.told & _SERVICE_BITS & ~mdns.facts:
                leave(mdns, ~mdns.facts)
            mdns.stage = _CLAIMED
        mdns.pause_until = mdns.deadline = ticks_add(now, _TELL_MS)
        if mdns.stage < _TOLD:
            if not mdns.told:
                log.info("mdns: this board is %s.local", mdns.name.decode())
            mdns.wanted = _ALL
            mdns.told = mdns.facts
        mdns.socket.sendto(_message(mdns, mdns.wanted, mdns.facts), _GROUP)
        mdns.wanted = 0
        if mdns.stage < _TOLD:
            mdns.stage += 1
        if mdns.stage == _TOLD:
            mdns.deadline = None


def leave(mdns, services=_SERVICE_BITS):
    """Say goodbye for those of *services*, as bits, that were told."""
    if mdns.stage > _CLAIMED:
        mdns.socket.sendto(_message(mdns, _ALL, mdns.told & services, 0), _GROUP)
        sleep_ms(_SETTLE_MS)


def _begin(mdns, now):
    # Opens the socket in the network that was joined, and begins to claim the name.
    import uselect
    import usocket

    mdns.joins = mdns.ota.joins
    if mdns.socket:
        mdns.socket.close()
    mdns.socket = mdns.poll = None
    udp = usocket.socket(usocket.AF_INET, usocket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        udp.setsockopt(usocket.SOL_SOCKET, usocket.SO_REUSEADDR, 1)
        udp.bind(("", _PORT))
        try:
            # So that the network, which may be another one, is told of the membership anew.
            group = _GROUP_BYTES + mdns.address
            udp.setsockopt(usocket.IPPROTO_IP, usocket.IP_DROP_MEMBERSHIP, group)
        except OSError:
            pass  # there was none
        udp.setsockopt(usocket.IPPROTO_IP, usocket.IP_ADD_MEMBERSHIP, group)
        mdns.poll = uselect.poll()
        mdns.poll.register(udp, uselect.POLLIN)
    except OSError as e:
        udp.close()
        mdns.poll = None
        log.error("mdns: nobody is answered: port %d: %s", _PORT, e)
        return
    mdns.socket = udp
    _claim(mdns, now, urandom(1)[0])


def _claim(mdns, now, ms):
    # Claims the name from the beginning, in so many milliseconds.
    mdns.stage = mdns.wanted = mdns.told = 0
    mdns.deadline = ticks_add(now, ms)


def _drop_waiting(mdns):
    # Drops the datagrams that have come already: they cannot be answers to a question that is sent
    # now.
    for _ in range(_MOST_WAITING):
        if not mdns.poll.poll(0):
            break
        mdns.socket.recvfrom(1)


def _take(mdns, data, address, now):
    # Answers a message, or finds that another host has this name. A malformed message is ignored;
    # in a message that was cut off, the questions count.
    if len(data) < _HEAD_BYTES:
        return
    flags, questions, answers, claims, more = unpack_from(">HHHHH", data, 2)
    is_response = flags >> 15
    asked = known = asks_directly = end = conflict = 0
    count = 0 if flags & 0x780F else questions + answers + claims + more
    try:
        at = _HEAD_BYTES
        for i in range(min(count, _MOST_RECORDS)):
            name, at = _name(data, at)
            kind, class_ = unpack_from(">HH", data, at)
            at += 4
            size = 0
            if i >= questions:
                ttl, size = unpack_from(">IH", data, at)
                at += 6
            elif i == questions - 1:
                end = at
            bit = 1
            for own, own_kind, before, target in _records(mdns, mdns.facts):
                if name != own:
                    pass
                elif i < questions:
                    # NSEC says which records of the host exist: it answers questions for all
                    # others.
                    if class_ & 0x7FFF in (_IN, _ANY) and (
                        kind in (own_kind, _ANY) or own_kind == _NSEC and kind != _A
                    ):
                        asked |= bit
                        asks_directly |= class_ >> 15
                elif kind == own_kind:
                    n = len(before)
                    is_same = data[at : at + n] == before and (
                        _name(data, at + n)[0] == target if target else n == size
                    )
                    if is_response:
                        conflict |= ttl and not is_same and kind in (_A, _SRV)
                    elif i < questions + answers:
                        if is_same and ttl >= _ttl(kind) // 2:
                            known |= bit
                    elif mdns.stage < _CLAIMED and kind == _A and data[at : at + 4] > before:
                        # Another host asks at this moment whether the same name is free. One of
                        # the two gives way, by their addresses (RFC 6762, 8.2).
                        _claim(mdns, now, _TELL_MS)
                bit <<= 1
            at += size
    except (IndexError, ValueError):
        if not end:
            return
    # Before this board has asked for the name, others cannot answer: what they say is older.
    if conflict and mdns.stage:
        if mdns.stage < _CLAIMED:
            # Another host has the name. If it was this board's, the board first asks for it once
            # more.
            mdns.failures += 1
            taken = mdns.name
            end = b"-%d" % (mdns.failures + 1)
            name = mdns.ota.settings["hostname"].lower().encode()
            mdns.name = name[: _LONGEST_LABEL - len(end)] + end
            text = "mdns: another host is %s.local: this board tries %s.local"
            log.error(text, taken.decode(), mdns.name.decode())
        many = mdns.failures > _MANY_FAILURES
        _claim(mdns, now, _FAILURES_MS if many else _CONFLICT_MS + urandom(1)[0])
    asked &= ~known
    if is_response or mdns.stage < _CLAIMED or not asked:
        return
    if address[1] != _PORT:
        # The asking resolver knows no mDNS: the answer must repeat its question and number.
        answer = _message(mdns, asked, mdns.facts, _LEGACY_TTL_S, data[:end])
        mdns.socket.sendto(answer, address)
    elif asks_directly:
        mdns.socket.sendto(_message(mdns, ~known, mdns.facts), address)
    # The answer is multicast as well, since the Arduino IDE lists boards that it has heard of in
    # the last minute. Boards answer at different moments, and none of them twice in a second,
    # unless another host claims its name.
    wait_ms = ticks_diff(mdns.pause_until, now)
    if not 0 < wait_ms <= _TELL_MS:
        wait_ms = 0  # ticks start again after 12 days
    if claims:
        wait_ms -= _TELL_MS - _CLAIM_MS
    deadline = ticks_add(now, max(wait_ms, 20 + urandom(1)[0] // 4))
    if mdns.deadline is None or ticks_diff(deadline, mdns.deadline) < 0:
        mdns.deadline = deadline
    mdns.wanted |= _ALL & ~known


def _ttl(kind):
    return _TTL_S if kind in (_PTR, _TXT) else _HOST_TTL_S


def _records(mdns, services):
    # Yields all records: name, type, data before a name in it, and that name, if there is one.
    label = bytes([len(mdns.name)]) + mdns.name
    host = label + _LOCAL
    ota = mdns.ota
    for bit in (1, 2):
        if services & bit:
            if bit == 1:
                service = _ARDUINO
                port = ota.settings.get("port", 8266)
                word = state(ota).encode()
                text = _ARDUINO_TEXT + mdns.about + bytes([len(word) + 6]) + b"state=" + word
                text += b"\x0fauth_upload=yes" if ota.has_password() else b"\x0eauth_upload=no"
            else:
                service = _HTTP
                port = ota.settings.get("web_port", 80)
                text = _HTTP_TEXT
            instance = label + service
            yield instance, _SRV, pack(">HHH", 0, 0, port), host
            yield instance, _TXT, text, b""
            yield service, _PTR, b"", instance
            yield _SERVICES, _PTR, b"", service
    if services & _HOST_BIT:
        # The A record comes last: some resolvers can use it only when they have seen the SRV.
        yield host, _A, mdns.address, b""
        yield host, _NSEC, b"", host


def _name(data, at):
    # Returns the name at *at*, in small letters and without pointers, and where it ends.
    name = b""
    end = jumps = 0
    start = at
    while data[at]:
        n = data[at]
        if n < 64:
            name += data[at : at + n + 1]
            at += n + 1
        else:
            # RFC 1035, 4.1.4: a pointer leads to what stands before.
            end = end or at + 2
            at = (n & 63) << 8 | data[at + 1]
            jumps += 1
            if n < 192 or at >= start:
                raise ValueError
            start = at
        if len(name) >= _LONGEST_NAME or jumps > _MOST_JUMPS:
            raise ValueError
    return name.lower() + b"\0", end or at + 1


def _message(mdns, wanted, services, ttl=_TTL_S, legacy=b"", count_at=7):
    # Returns a response with the records *wanted*, as bits, that live for *ttl* seconds at most.
    # *legacy* is the head and the questions of a query that is answered in the way of plain DNS. If
    # *count_at* is 9, the message asks whether the names are free, and tells the claimed records.
    is_response = count_at == 7
    message = bytearray(legacy or 12)
    message[6:12] = bytes(6)
    message[2:4] = b"\x84\0" if is_response else b"\0\0"
    for is_question in (False,) if is_response else (True, False):
        bits = wanted
        for name, kind, before, target in _records(mdns, services):
            if bits & 1 and (is_response or kind in (_A, _SRV)):
                _append_name(message, name)
                if is_question:
                    message += b"\0\xff\x80\1"  # all there is of it, to be answered directly
                    message[5] += 1
                else:
                    flush = is_response and kind != _PTR and not legacy  # that is all of that name
                    most = min(ttl, _ttl(kind))
                    message += pack(">HBBIH", kind, flush and 0x80, _IN, most, 0)
                    at = len(message)
                    message += before
                    if target:
                        _append_name(message, target)
                    if kind == _NSEC:
                        message += b"\0\1\x40"  # there is an A, and nothing else
                    message[at - 2 : at] = pack(">H", len(message) - at)
                    message[count_at] += 1
            bits >>= 1
    return message


def _append_name(message, name):
    # Appends *name*; its end as a pointer, if the same bytes stand in the message already.
    at = 0
    while name[at]:
        found = message.find(name[at:])
        if found >= 0:
            message += name[:at]
            message += pack(">H", 0xC000 | found)
            return
        at += name[at] + 1
    message += name
