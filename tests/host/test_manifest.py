"""MANIFEST: the documented lines are written, and what a board refuses is refused."""

import random

import pytest
from mpota.errors import CommandError, DamagedImageError
from mpota.image.manifest import Manifest

GOOD = "mpota 2\nname a\nversion 1\nsequence 1\nboard esp8266\nmpy 6.3\n"


def parse(text):
    return Manifest.parse(text.encode())


def test_a_manifest_has_the_documented_lines():
    assert Manifest("garden", "1.4.0", 17).text() == (
        "mpota 2\nname garden\nversion 1.4.0\nsequence 17\nboard esp8266\nmpy 6.3\n"
    )


def test_downgrade_is_the_last_line():
    text = Manifest("garden", "1.4.0", 17, downgrade=True).text()
    assert text.endswith("\nmpy 6.3\ndowngrade yes\n")


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest("a", "1", 1),
        Manifest("n" * 32, "~" * 32, 2**30 - 1, downgrade=True),
        Manifest("a", "1", 1, board=None, mpy=None),
        Manifest("a", "1", 1, board="other", mpy="7.0"),
    ],
)
def test_a_manifest_reads_back_as_it_was_written(manifest):
    assert parse(manifest.text()) == manifest


@pytest.mark.parametrize("value", ["no", "YES", "y"])
def test_another_word_for_downgrade_says_nothing(value):
    assert parse(GOOD + f"downgrade {value}\n") == parse(GOOD)


def test_the_order_is_free_and_a_sequence_may_begin_with_zeros():
    text = "mpota 2\nsequence 0000000017\nmpy 6.3\nversion 1\nboard esp8266\nname a\n"
    assert parse(text) == Manifest("a", "1", 17)


def test_unknown_keys_and_a_line_of_128_bytes_are_passed_over():
    assert parse(GOOD + "colour green\ncolour red\n" + "x" * 127 + "\n") == parse(GOOD)


@pytest.mark.parametrize(
    "fields",
    [
        *({"name": name} for name in ("", "a b", "ä", "a" * 33, "a\nsequence 9")),
        *({"version": version} for version in ("", "1 0", "1\n", "1" * 33)),
        *({"sequence": sequence} for sequence in (0, -1, 2**30)),
    ],
)
def test_a_field_that_does_not_fit_is_told(fields):
    with pytest.raises(CommandError, match="does not fit: give"):
        Manifest(**({"name": "a", "version": "1", "sequence": 1} | fields)).text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "newline"),
        (GOOD[:-1], "newline"),
        *((GOOD + line + "\n", "no plain ASCII") for line in ("name ä", "x \x7f", "x\t", "")),
        *((GOOD.replace("mpota 2", first), "begin") for first in ("mpota 1", "mpota 2 ", "")),
        *((GOOD.replace(line, ""), "has no") for line in ("name a\n", "version 1\n")),
        (GOOD.replace("sequence 1\n", ""), "no 'sequence' line"),
        (GOOD + "name b\n", "two 'name' lines"),
        *((GOOD + f"downgrade{rest}\n", "one word") for rest in ("", " ", "  yes", " yes ")),
        (GOOD + "downgrade yes yes\n", "'downgrade' line does not have one word"),
        (GOOD.replace("name a", "name " + "a" * 33), "of 1 to 32 characters"),
        (GOOD.replace("mpy 6.3", "mpy " + "6" * 33), "of 1 to 32 characters"),
        (GOOD.replace("sequence 1", "sequence -1"), "not a number"),
        (GOOD.replace("sequence 1", "sequence 00000000001"), "not a number"),
        (GOOD.replace("sequence 1", "sequence 0"), "not from 1 to 1073741823"),
        (GOOD.replace("sequence 1", "sequence 1073741824"), "not from 1 to"),
        (GOOD + "x" * 128 + "\n", "longer than 128"),
        (GOOD + "x\n" * 300, "longer than 512"),
    ],
)
def test_a_bad_manifest_is_refused(text, reason):
    with pytest.raises(DamagedImageError, match=reason):
        parse(text)


def test_random_manifests_never_break_the_parser():
    rng = random.Random(7)
    pieces = [*GOOD.splitlines(True), "downgrade yes\n", "mpy ", "\n", " ", "\x00", "9", "é", "/"]
    taken = 0
    for _ in range(5000):
        text = rng.choice(("", "mpota 2\n", GOOD)) + "".join(
            rng.choices(pieces, k=rng.randrange(9))
        )
        try:
            taken += parse(text).sequence > 0
        except DamagedImageError as error:
            assert "\n" not in str(error)
    assert taken
