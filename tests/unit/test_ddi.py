"""What is taken out of hawkBit's JSON, whatever pieces it comes in, and whatever it is."""

import json
import os

from ota.ddi.talk import scanning

WANTED = (
    b" polling.sleep _links.configData deploymentBase.href cancelAction.href artifacts. .size "
    b"hashes.sha1 d.x "
)
ANSWER = {
    "config": {"polling": {"sleep": "00:05:00", "other": [1, [2, {"sleep": 3}], "]}"]}},
    "_links": {
        "deploymentBase": {"href": 'http://x/"quoted\\"/\u00e4/\u20ac?c=1&d=2', "sleep": "no"},
        "configData": {"href": "y", "templated": False},
    },
    "d": {"x": -12.5e3, "y": None},
    "chunks": [
        {"artifacts": [{"size": 7, "hashes": {"sha1": None}}, {"size": True, "hashes": {}}]},
        {"artifacts": []},
    ],
}
VALUES = [
    "00:05:00", 1, 'http://x/"quoted\\"/\u00e4/\u20ac?c=1&d=2', None, 2, True, None, -12500.0,
]  # fmt: skip


class Answer:
    """A session whose reply has a body, of which so many bytes come at a time."""

    is_chunked = False
    left = None
    rest = b""

    def __init__(self, data, piece):
        self.block = bytearray(512)
        self.data = data
        self.piece = piece
        self.tcp = self
        self.is_there = False

    def readinto(self, view):
        self.is_there = not self.is_there
        if not self.is_there:
            return None
        part = self.data[: min(self.piece, len(view))]
        self.data = self.data[len(part) :]
        view[: len(part)] = part
        return len(part)

    def waiting(self):
        yield False

    def listen(self):
        pass


def scanned(data, piece):
    """Give the values in *data*, which comes in pieces of so many bytes."""
    steps = scanning(Answer(data, piece), WANTED)
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value


def is_refused(data, piece):
    """Whether *data* is none that values are taken from."""
    try:
        scanned(data, piece)
    except ValueError:
        return True
    return False


def test_values_are_found_whatever_the_pieces_are():
    data = json.dumps(ANSWER).encode()
    for piece in (1, 2, 3, 7, 50, 400):
        assert scanned(data, piece) == VALUES, piece


def test_spaces_and_line_feeds_do_not_matter():
    data = json.dumps(ANSWER).encode()
    data = data.replace(b", ", b"\r\n\t , ").replace(b": ", b" :\n")
    assert scanned(data, 9) == VALUES


def test_escapes_are_read():
    data = b'{"polling":{"sleep":"a\\/b\\u0041\\\\\\"c"}}'
    assert scanned(data, 4)[0] == 'a/bA\\"c'


def test_what_ends_too_early_is_no_answer():
    data = json.dumps(ANSWER).encode()
    for end in range(0, len(data), 3):
        assert is_refused(data[:end], 100), end


def test_what_is_no_json_or_no_object_is_refused():
    for data in (
        b"<html>", b"7 ", b'"x" ', b"}", b"]", b'{"a":1]', b"[}", b"{" * 13, b"[" * 13,
        b"[1!", b"[1)", b'{"a":' * 20,
        b'{"polling":{"sleep":tru}}', b'{"polling":{"sleep":"\\u12"}}',
        b'{"polling":{"sleep":1.2.3}}', b'{"\xff\xfe":1,"a":"' + b"x" * 600,
    ):  # fmt: skip
        assert is_refused(data, 64), data


def test_mutated_answers_end_in_values_or_an_error():
    data = json.dumps(ANSWER).encode()
    for _ in range(2000):
        mutated = bytearray(data)
        for _ in range(1 + os.urandom(1)[0] % 4):
            at = int.from_bytes(os.urandom(2), "little") % len(mutated)
            mutated[at] = (
                os.urandom(1)[0] if os.urandom(1)[0] & 1 else b'{}[]",:\\'[os.urandom(1)[0] & 7]
            )
        try:
            scanned(bytes(mutated), 64)
        except (ValueError, TypeError):
            pass
