"""The errors' numbers and texts."""

from ota.errors import OTAError

# Those of the Arduino core (Updater.h) up to 16, this project's own from 32 on.
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
    10: "Not an application image",
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
    39: "Bad ROMFS",
    41: "Image is for another board",
    42: "SHA-256 is not the announced one",
    43: "Sequence is too far above the floor",
    44: "Image is for another application",
    45: "Delta is for another version",
    46: "Not a data image",
    47: "Bad data image",
    48: "Data and application do not belong together",
}


def test_every_number_has_its_text_as_in_the_arduino_core():
    for code in _TEXTS:
        assert str(OTAError(code)) == "ERROR[%d]: %s" % (code, _TEXTS[code])


def test_a_number_without_a_text_is_told_alone():
    for code in range(256):
        if code not in _TEXTS:
            assert str(OTAError(code)) == "ERROR[%d]: " % code


def test_a_detail_follows_the_text():
    assert str(OTAError(39, "at byte 70")) == "ERROR[39]: Bad ROMFS: at byte 70"


def test_an_error_keeps_its_number_and_detail():
    error = OTAError(38, "line 2: name")
    assert (error.code, error.detail) == (38, "line 2: name")


def test_without_memory_for_its_text_an_error_tells_its_number():
    class Detail:
        def __radd__(self, other):
            raise MemoryError

    assert str(OTAError(4, Detail())) == "ERROR[4]"
