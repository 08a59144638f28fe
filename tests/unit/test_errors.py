"""The errors' numbers and texts."""

from ota.error_texts import text
from ota.errors import OTAError

# protocols of the Arduino core (Updater.h) up to 16, this project's own from 32 on.
_TEXTS = {
    0: "No Error",
    1: "Flash Write Failed",
    2: "Flash Erase Failed",
    3: "Flash Read Failed",
    4: "Not Enough Space",
    5: "Bad Size Given",
    6: "Stream Read Timeout",
    7: "MD5 verification failed",
    8: "Flash config wrong",
    9: "new Flash config wrong",
    10: "Magic byte is not 0xE9",
    11: "Invalid bootstrapping state, reset ESP8266 before updating",
    12: "Signature verification failed",
    13: "No data supplied",
    14: "Out of memory",
    15: "Update already running",
    16: "Unknown update command",
    32: "Refused by the application",
    33: "Updates are not allowed now",
    34: "Trial of a new version is running",
    35: "Release was rejected before",
    36: "Release is older than the floor",
    37: "Image is truncated or damaged",
    38: "Bad MANIFEST",
    39: "Bad file name",
    40: "Files do not match MANIFEST",
    41: "Image is for another board",
    42: "SHA-256 is not the announced one",
    43: "Sequence is too far above the floor",
    44: "Image is for another application",
}


def test_every_number_has_its_text():
    for code in _TEXTS:
        assert text(code) == _TEXTS[code], code


def test_a_number_without_a_text_has_an_empty_one():
    for code in range(256):
        if code not in _TEXTS:
            assert text(code) == "", code


def test_an_error_prints_as_in_the_arduino_core():
    assert str(OTAError(4)) == "ERROR[4]: Not Enough Space"


def test_a_detail_follows_the_text():
    assert str(OTAError(39, "a//b")) == "ERROR[39]: Bad file name: a//b"


def test_an_error_keeps_its_number_and_detail():
    error = OTAError(38, "line 2: file")
    assert (error.code, error.detail) == (38, "line 2: file")
