"""mDNS messages that were mutated: none raises, none takes long, and the heap comes back.

In a whole campaign there are 100,000, otherwise a sample of them.
"""

import gc
import json
import random
from binascii import hexlify

import ota
from mdns_stub import (
    ANY,
    ARDUINO,
    HTTP,
    PEER,
    PTR,
    RESOLVER,
    SERVICES,
    SRV,
    TXT,
    A,
    Board,
    message,
    question,
    record,
    wire,
)
from ota.mdns import talk

_WHOLE, _SAMPLE = 100000, 2000
_LOOK_EVERY = 500  # messages, at the heap
_MOST_RECORDS = 48  # as talk.py has it
_INSTANCE = "board." + ARDUINO
_SRV = b"\0\0\0\0" + (8266).to_bytes(2, "big") + wire("board.local")
_KNOWN = record(ARDUINO, PTR, wire(_INSTANCE), 4500)
_POINTED = b"\0\0\0\0\0\2\0\0\0\0\0\0" + wire(ARDUINO) + b"\0\x0c\0\1\x05board\xc0\x0c\0\x21\0\1"

_MESSAGES = (
    message([question(ARDUINO, PTR)]),
    message([question(ARDUINO, PTR, 0x8001), question(HTTP, PTR)], [_KNOWN]),
    message([question(SERVICES, PTR)], number=7),
    message([question("board.local", A), question("board.local", 28)]),
    message([question(_INSTANCE, ANY, 0x8001)], claims=[record(_INSTANCE, SRV, _SRV)]),
    message([question("board.local", ANY)], claims=[record("board.local", A, b"\1\2\3\4")]),
    message(answers=[record("board.local", A, b"\xff\2\3\4", class_=0x8001)], flags=0x8400),
    message(answers=[record(_INSTANCE, SRV, _SRV), record(_INSTANCE, TXT, b"\3a=b")], flags=0x8400),
    message([question(ARDUINO, PTR)], [_KNOWN] * 9, more=[record("board.local", A, b"\1\2\3\4")]),
    _POINTED,
    message([question(ARDUINO, PTR)] * 20 + [question("board.local", A)] * 20),
)
_BYTES = (0, 1, 0x0C, 0x1F, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xC1, 0xFE, 0xFF)


class _Gc:
    """A `gc` that collects nothing: of this test's large heap that takes longer than the rest."""

    def collect(self):
        pass


def _random(n):
    return random.getrandbits(24) % n


def _mutated(n):
    # Returns message number *n*: one to four changes of a good one.
    random.seed(n)
    data = bytearray(_MESSAGES[_random(len(_MESSAGES))])
    for _ in range(1 + _random(4)):
        if not data:
            break
        at = _random(len(data))
        kind = _random(8)
        if kind < 2:
            data[at] = _BYTES[_random(len(_BYTES))]
        elif kind == 2:
            data[at] ^= 1 << _random(8)
        elif kind == 3 and len(data) > 12:
            data[4 + _random(8)] = _BYTES[_random(len(_BYTES))]  # a count
        elif kind == 4:
            data[at : at + 2] = (0xC000 | _random(len(data) + 20)).to_bytes(2, "big")
        elif kind == 5:
            data[at : at + 1 + _random(6)] = b""
        elif kind == 6:
            data[at:at] = bytes([_random(256) for _ in range(_random(6))])
        else:
            piece = data[at : at + _random(60)]
            at = _random(len(data))
            data[at:at] = piece
    return bytes(data[:512])


def test_no_mutated_message_does_harm():
    with open("/campaign.json") as f:
        campaign = json.load(f)
    count = _WHOLE if campaign["whole"] else _SAMPLE
    first = campaign["seed"]
    names = [0]
    real = talk._name

    def counted(data, at):
        names[0] += 1
        return real(data, at)

    answers = 0
    used = None
    with Board() as board:
        talk._name = counted
        ota.gc = _Gc()
        try:
            for n in range(first, first + count):
                data = _mutated(n)
                names[0] = 0
                board.net.inbox.append((data, RESOLVER if n % 4 == 0 else PEER))
                board.mdns.handle()
                board.wait(100)
                board.mdns.handle()
                answers += len(board.net.sent)
                del board.net.sent[:]
                for line in board.lines:
                    assert line.startswith("mdns: another host is "), (n, line, hexlify(data))
                    # That was the mutant's wish; the next ones are for the old name again.
                    board.mdns.failures = 0
                    board.mdns.name = b"board"
                del board.lines[:]
                assert names[0] <= 2 * _MOST_RECORDS, (n, hexlify(data))
                # The next one finds a board that has its name and may speak.
                board.mdns.stage = 5
                board.mdns.told = board.mdns.facts
                board.mdns.deadline = None
                board.mdns.wanted = 0
                board.wait(1000)
                if n % _LOOK_EVERY == 0:
                    gc.collect()
                    used = gc.mem_alloc() if used is None else used
                    assert gc.mem_alloc() - used < 4096, (n, gc.mem_alloc(), used)
        finally:
            talk._name = real
            ota.gc = gc
        board.asked("board.local", A)
    text = "figure mutated mDNS messages, from number %d on: %d/%d, which got %d answers"
    print(text % (first, count, count, answers))
    assert answers > count // 8, answers
