"""MANIFEST, line by line: what is taken, and what is refused with error 38 and nothing else."""

import io
import random
from hashlib import sha256

from ota.errors import OTAError
from ota.manifest import ManifestReader
from sample_image import code_of

_DIGEST = b"0123456789abcdef" * 4
_FILE = b"file 12 " + _DIGEST + b" app.py\n"
_GOOD = (
    b"mpota 1\n",
    b"name sample\n",
    b"version 1.2.3\n",
    b"sequence 7\n",
    b"board esp8266\n",
    b"mpy 6.3\n",
    _FILE,
    b"file 0 " + _DIGEST + b" lib/x.py\n",
)
_MAX = 0x3FFFFFFF
_SEED = 20240817
_MUTATIONS = 24000


def _reader(*lines):
    reader = ManifestReader()
    for line in lines:
        reader.take(line)
    return reader


def _refused(line, *before):
    # Whether `line` is refused after the first line and those of `before`, which are not.
    reader = _reader(b"mpota 1\n", *before)
    return code_of(reader.take, line) == 38


def test_takes_every_line_of_a_good_one():
    reader = _reader(*_GOOD)
    reader.check()
    m = reader.manifest
    assert (m.name, m.version, m.sequence) == ("sample", "1.2.3", 7)
    assert (m.board, m.mpy, m.files, m.total_bytes) == ("esp8266", "6.3", 2, 12)


def test_take_returns_what_a_file_line_lists_and_none_for_others():
    reader = ManifestReader()
    for line in _GOOD:
        item = reader.take(line)
        if line == _FILE:
            assert item == (12, _DIGEST.decode(), "app.py")
        elif line[:5] != b"file ":
            assert item is None


def test_the_first_line_must_name_the_format():
    for line in (
        b"mpota 2\n",
        b"mpota 1 \n",
        b" mpota 1\n",
        b"mpota 10\n",
        b"MPOTA 1\n",
        b"mpota\n",
        b"name sample\n",
        b"x\n",
    ):
        assert code_of(ManifestReader().take, line) == 38, line


def test_unknown_keys_are_ignored():
    known = (b"name n\n", b"version v\n", b"sequence 1\n", _FILE)
    for line in (
        b"colour green\n",
        b"mpota 1\n",
        b"Name x y z\n",
        b"files 3\n",
        b"filex\n",
        b" \n",
        b" file 1\n",
        b"~\n",
    ):
        reader = _reader(b"mpota 1\n", line, *known)
        assert reader.take(line) is None
        reader.check()


def test_lines_hold_printable_ascii_only():
    for c in range(256):
        line = b"note a" + bytes([c]) + b"b\n"
        assert _refused(line) == (not 32 <= c <= 126), c
    assert _refused(b"\n")
    assert _refused(b"name x\r\n")


def test_a_line_has_256_bytes_at_most():
    assert not _refused(b"n" * 255 + b"\n")
    assert _refused(b"n" * 256 + b"\n")
    assert _refused(b"n" * 5000 + b"\n")


def test_a_name_version_board_mpy_and_downgrade_are_one_word_and_stand_once():
    for key in (b"name", b"version", b"board", b"mpy", b"downgrade"):
        for rest in (b"\n", b" \n", b" a b\n", b"  a\n", b" a \n"):
            assert _refused(key + rest), key + rest
        assert not _refused(key + b" a\n")
        assert _refused(key + b" b\n", key + b" a\n")
        assert _refused(key + b" a\n", key + b" a\n")


def test_downgrade_is_read_and_not_there_unless_it_is():
    assert _reader(*_GOOD).manifest.downgrade == ""
    reader = _reader(*_GOOD, b"downgrade yes\n")
    reader.check()
    m = reader.manifest
    assert (m.downgrade, m.name, m.sequence) == ("yes", "sample", 7)
    for line, word in ((b"downgrade no\n", "no"), (b"downgrade YES\n", "YES")):
        assert _reader(*_GOOD, line).manifest.downgrade == word
    # A key of its own: nothing that only begins like it.
    assert _reader(*_GOOD, b"downgrades yes\n").manifest.downgrade == ""


def test_a_word_may_fill_its_line():
    name = b"n" * 250
    assert _reader(b"mpota 1\n", b"name " + name + b"\n").manifest.name == name.decode()


def test_the_sequence_is_a_positive_number_and_stands_once():
    for word in (b"1", b"7", b"%d" % _MAX, b"0000000009"):
        assert _reader(b"mpota 1\n", b"sequence " + word + b"\n").manifest.sequence == int(word)
    for word in (
        b"0",
        b"",
        b"-1",
        b"+1",
        b"1.0",
        b"1e3",
        b"0x10",
        b"1_0",
        b"seven",
        b"%d" % (_MAX + 1),
        b"00000000001",
        b"9" * 40,
        b"1 2",
        b" 1",
    ):
        assert _refused(b"sequence " + word + b"\n"), word
    assert _refused(b"sequence\n")
    assert _refused(b"sequence 2\n", b"sequence 1\n")


def test_a_file_line_has_size_digest_and_name():
    digest = _DIGEST
    for line in (
        b"file\n",
        b"file 1\n",
        b"file 1 " + digest + b"\n",
        b"file 1 " + digest + b" \n",
        b"file 1 " + digest + b" a b\n",
        b"file  1 " + digest + b" a\n",
        b"file 1  " + digest + b" a\n",
        b"file 1 " + digest[:63] + b" a\n",
        b"file 1 " + digest + b"0 a\n",
        b"file x " + digest + b" a\n",
        b"file -1 " + digest + b" a\n",
        b"file  " + digest + b" a\n",
        b"file %d " % (_MAX + 1) + digest + b" a\n",
        b"file 00000000001 " + digest + b" a\n",
    ):
        assert _refused(line), line
    assert not _refused(b"file %d " % _MAX + digest + b" a\n")


def test_there_are_256_files_at_most():
    reader = _reader(b"mpota 1\n")
    for i in range(256):
        reader.take(b"file 3 " + _DIGEST + b" f%d\n" % i)
    assert (reader.manifest.files, reader.manifest.total_bytes) == (256, 768)
    assert code_of(reader.take, _FILE) == 38


def test_name_version_sequence_and_a_file_must_be_there():
    needed = (b"name n\n", b"version v\n", b"sequence 1\n", _FILE)
    _reader(b"mpota 1\n", *needed).check()
    for missing in needed:
        reader = _reader(b"mpota 1\n", *[line for line in needed if line != missing])
        assert code_of(reader.check) == 38, missing
    assert code_of(ManifestReader().check) == 38


def test_it_matches_the_file_lines_alone_in_their_order():
    one, other = [line for line in _GOOD if line[:5] == b"file "]
    for found, matches in (
        (one + other, True),
        (other + one, False),
        (one, False),
        (one + other + other, False),
        (b"".join(_GOOD), False),
    ):
        # Asked once only: a digest is final.
        assert _reader(*_GOOD).matches(sha256(found)) == matches, found


def test_read_line_gives_whole_lines_and_refuses_others():
    stream = io.BytesIO(b"mpota 1\nname x\n" + b"y" * 255 + b"\n")
    reader = ManifestReader()
    for line in (b"mpota 1\n", b"name x\n", b"y" * 255 + b"\n"):
        assert reader.read_line(stream, 10000) == line
    for data, left in (
        (b"", 10),
        (b"name", 100),
        (b"name x\n", 6),
        (b"x" * 257, 10000),
        (b"x" * 257 + b"\n", 10000),
        (b"x" * 100000, 100000),
    ):
        stream = io.BytesIO(data)
        assert code_of(ManifestReader().read_line, stream, left) == 38, data[:20]
        assert stream.tell() <= 257


def test_an_error_names_the_line_it_is_in():
    def message(function, *args):
        try:
            function(*args)
        except OTAError as e:
            return e.detail
        raise AssertionError("no OTAError")

    assert message(ManifestReader().take, b"x\n") == "line 1: not 'mpota 1'"
    assert message(_reader(b"mpota 1\n", b"name x\n").take, b"name y\n") == "line 3: name"
    assert message(ManifestReader().read_line, io.BytesIO(b"mpota"), 5)[:7] == "line 1:"
    third = _reader(b"mpota 1\n", b"name x\n")
    assert message(third.read_line, io.BytesIO(b"vers"), 4)[:7] == "line 3:"


def _mutated(line):
    # One to four changes: a byte altered, put in, taken out, doubled; a piece of another line.
    line = bytearray(line)
    for _ in range(1 + random.getrandbits(2)):
        at = random.getrandbits(16) % (len(line) + 1)
        kind = random.getrandbits(3)
        if kind < 3 and at < len(line):
            line[at] ^= 1 << random.getrandbits(3)
        elif kind == 3:
            line[at:at] = bytes([random.getrandbits(8)])
        elif kind == 4 and at < len(line):
            line[at : at + 1] = b""
        elif kind == 5:
            line[at:at] = line[at // 2 : at]
        elif kind == 6:
            other = _GOOD[random.getrandbits(3)]
            line[at:at] = other[: random.getrandbits(6)]
        else:
            line[at:at] = b"9" * random.getrandbits(9)
    return bytes(line)


def test_of_mutated_lines_nothing_but_an_ota_error_comes():
    random.seed(_SEED)
    taken = refused = 0
    for i in range(_MUTATIONS):
        # A line alone after the first, or as the first; and whole ones with a mutation, as read.
        line = _mutated(_GOOD[i & 7])
        reader = _reader(b"mpota 1\n") if i % 9 else ManifestReader()
        code = code_of(reader.take, line)
        assert code in (None, 38), (i, line)
        if code:
            refused += 1
        else:
            taken += 1
        assert code_of(reader.check) in (None, 38)
        assert 0 <= reader.manifest.sequence <= _MAX and reader.manifest.files <= 1
    assert taken > 1000 and refused > 1000, (taken, refused)


def test_of_mutated_streams_nothing_but_an_ota_error_comes():
    random.seed(_SEED + 1)
    whole = b"".join(_GOOD)
    outcomes = {None: 0, 38: 0}

    def read(data):
        reader = ManifestReader()
        stream = io.BytesIO(data)
        left = len(data)
        while left:
            line = reader.read_line(stream, left)
            left -= len(line)
            reader.take(line)
        reader.check()

    for _ in range(3000):
        outcomes[code_of(read, _mutated(whole))] += 1
    assert outcomes[None] > 50 and outcomes[38] > 500, outcomes
