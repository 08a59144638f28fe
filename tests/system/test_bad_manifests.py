"""Images whose MANIFEST is not what the format says."""

import pytest
from tars import END, file_line, header, image, manifest, member

pytestmark = pytest.mark.parallel

MISMATCH, BAD_MANIFEST, WRONG_BOARD = 40, 38, 41
APP = b"def main(ota):\n    print('bad')\n"
LISTED = file_line("app.py", APP)
ZEROS = b"0" * 64


def lines(sequence, /, **changes):
    """Give the lines of a good manifest, with *changes* by name; a line of None is left out."""
    facts = {
        "first": b"mpota 1", "name": b"name small", "version": b"version 1",
        "sequence": b"sequence %d" % sequence, "board": b"board esp8266", "file": LISTED,
    }  # fmt: skip
    return b"".join(line + b"\n" for line in (facts | changes).values() if line is not None)


BROKEN = {
    "empty": lambda n: b"",
    "one newline": lambda n: b"\n",
    "first line alone": lambda n: b"mpota 1\n",
    "another version of the format": lambda n: lines(n, first=b"mpota 2"),
    "first line with more behind": lambda n: lines(n, first=b"mpota 1 "),
    "first line in capitals": lambda n: lines(n, first=b"MPOTA 1"),
    "first line missing": lambda n: lines(n, first=None),
    "no name": lambda n: lines(n, name=None),
    "no version": lambda n: lines(n, version=None),
    "no sequence": lambda n: lines(n, sequence=None),
    "no file": lambda n: lines(n, file=None),
    "two names": lambda n: lines(n, more=b"name other"),
    "two versions": lambda n: lines(n, more=b"version 2"),
    "two sequences": lambda n: lines(n, more=b"sequence %d" % (n + 1)),
    "two boards": lambda n: lines(n, more=b"board esp8266"),
    "two mpy versions": lambda n: lines(n, mpy=b"mpy 6.3", more=b"mpy 6.3"),
    "name without a value": lambda n: lines(n, name=b"name"),
    "name with an empty value": lambda n: lines(n, name=b"name "),
    "name with two values": lambda n: lines(n, name=b"name a b"),
    "sequence 0": lambda n: lines(n, sequence=b"sequence 0"),
    "sequence -1": lambda n: lines(n, sequence=b"sequence -1"),
    "sequence +5": lambda n: lines(n, sequence=b"sequence +5"),
    "sequence 2**30": lambda n: lines(n, sequence=b"sequence %d" % 2**30),
    "sequence 2**32 + 1": lambda n: lines(n, sequence=b"sequence %d" % (2**32 + 1)),
    "sequence of 200 digits": lambda n: lines(n, sequence=b"sequence " + b"9" * 200),
    "sequence with a point": lambda n: lines(n, sequence=b"sequence %d.0" % n),
    "sequence in hex": lambda n: lines(n, sequence=b"sequence 0x%x" % n),
    "sequence of letters": lambda n: lines(n, sequence=b"sequence many"),
    "sequence without a value": lambda n: lines(n, sequence=b"sequence"),
    "file without a name": lambda n: lines(n, file=LISTED.removesuffix(b" app.py")),
    "file with an empty name": lambda n: lines(n, file=LISTED.removesuffix(b"app.py")),
    "file with a space in its name": lambda n: lines(n, file=LISTED + b" x"),
    "file with nothing": lambda n: lines(n, file=b"file"),
    "file with a short hash": lambda n: lines(n, file=b"file %d abcd app.py" % len(APP)),
    "file of no size": lambda n: lines(n, file=b"file x %s app.py" % ZEROS),
    "file of negative size": lambda n: lines(n, file=b"file -5 %s app.py" % ZEROS),
    "file of absurd size": lambda n: lines(n, file=b"file %s %s app.py" % (b"9" * 40, ZEROS)),
    "empty line in the middle": lambda n: lines(n, board=b"board esp8266\n"),
    "empty line at the end": lambda n: lines(n) + b"\n",
    "no final newline": lambda n: lines(n)[:-1],
    "carriage returns": lambda n: lines(n).replace(b"\n", b"\r\n"),
    "NUL": lambda n: lines(n, name=b"name a\0b"),
    "escape sequence": lambda n: lines(n, name=b"name \x1b[2J"),
    "tab": lambda n: lines(n, name=b"name\tsmall"),
    "UTF-8": lambda n: lines(n, name="name gärtner".encode()),
    "not even UTF-8": lambda n: lines(n, name=b"name \xff\xfe"),
    "line of 257 bytes": lambda n: lines(n, more=b"note " + b"x" * 251),
    "line of 10 KB": lambda n: lines(n, more=b"note " + b"x" * 10_000),
    "first line of 10 KB": lambda n: lines(n, first=b"x" * 10_000),
    "257 files": lambda n: lines(n, file=b"\n".join([LISTED] * 257)),
    "larger than 64 KiB": lambda n: lines(n) + b"note x\n" * 9400,
}
DIFFERENT = {
    "a wrong hash": lambda n: lines(n, file=LISTED.replace(LISTED.split()[2], ZEROS)),
    "a hash in capitals": lambda n: lines(n, file=LISTED.replace(LISTED.split()[2], b"A" * 64)),
    "a hash of no digits": lambda n: lines(n, file=LISTED.replace(LISTED.split()[2], b"z" * 64)),
    "a smaller size": lambda n: lines(n, file=LISTED.replace(b"file 3", b"file 2")),
    "a larger size": lambda n: lines(n, file=LISTED.replace(b"file 3", b"file 4")),
    "leading zeros": lambda n: lines(n, file=LISTED.replace(b"file ", b"file 0")),
    "another name": lambda n: lines(n, file=LISTED.replace(b"app.py", b"apt.py")),
    "a file that is missing": lambda n: lines(n, more=file_line("lib.py", b"x")),
    "a file twice": lambda n: lines(n, more=LISTED),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_manifest_is_refused(device, what):
    with device.unharmed():
        device.refuses(
            image(BROKEN[what](device.sequence + 1), member("app.py", APP)), BAD_MANIFEST
        )


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_manifest_that_lists_something_else_is_refused(device, what):
    with device.unharmed():
        text = DIFFERENT[what](device.sequence + 1)
        device.refuses(image(text, member("app.py", APP)), MISMATCH)


def test_a_file_that_is_not_listed_is_refused(device):
    with device.unharmed():
        text = lines(device.sequence + 1)
        data = image(text, member("app.py", APP), member("lib.py", b""))
        device.refuses(data, MISMATCH)


def test_files_in_another_order_than_listed_are_refused(device):
    with device.unharmed():
        text = manifest(device.sequence + 1, LISTED, file_line("lib.py", b"x"))
        data = image(text, member("lib.py", b"x"), member("app.py", APP))
        device.refuses(data, MISMATCH)


def test_an_image_without_a_manifest_is_refused(device):
    with device.unharmed():
        # Its first byte is the M of MANIFEST: the rest of the name must be looked at, too.
        device.refuses(member("Mapp.py", APP) + END, BAD_MANIFEST)


def test_a_manifest_that_is_not_the_first_file_is_refused(device):
    with device.unharmed():
        text = lines(device.sequence + 1)
        data = member("Main.py", APP) + member("MANIFEST", text) + member("app.py", APP) + END
        device.refuses(data, BAD_MANIFEST)


def test_a_manifest_that_claims_to_be_huge_is_refused(device):
    with device.unharmed():
        text = lines(device.sequence + 1)
        claimed = header(b"MANIFEST", 0o77777777777)
        data = claimed + text + bytes(-len(text) % 512) + member("app.py", APP) + END
        device.refuses(data, BAD_MANIFEST)


@pytest.mark.parametrize("line", [b"board esp32", b"board ESP8266", b"board esp82660"])
def test_an_image_for_another_board_is_refused(device, line):
    with device.unharmed():
        text = lines(device.sequence + 1, board=line)
        device.refuses(image(text, member("app.py", APP)), WRONG_BOARD)


@pytest.mark.parametrize("line", [b"mpy 5.0", b"mpy 6.2", b"mpy 6.30", b"mpy x"])
def test_bytecode_of_another_version_is_refused(device, line):
    with device.unharmed():
        text = lines(device.sequence + 1, mpy=line)
        device.refuses(image(text, member("app.py", APP)), WRONG_BOARD)


def test_keys_that_the_board_does_not_know_are_left_alone(device):
    device.sequence += 1
    app = device.app.replace("{version}", str(device.sequence)).encode()
    more = b"future-key with many words\nnote\nnote again"
    listed = file_line("app.py", app)
    device.update(image(lines(device.sequence, more=more, file=listed), member("app.py", app)))
