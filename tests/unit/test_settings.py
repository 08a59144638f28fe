"""/ota.json: a missing file counts as empty; a wrong value is named once, and gives no access."""

import json
import os

import machine
from flash_stubs import fails
from log_lines import LogLines
from ota import hal, settings

# A wrong value for each setting, and one more that is right and the least or the most.
_NUMBERS = {
    "port": (1, 65535),
    "step_ms": (0, 10000),
    "confirm_s": (0, 86400),
    "trial_s": (1, 500000),
}
_TEXTS = {
    "ssid": (0, 32),
    "key": (0, 64),
    "hostname": (1, 32),
    "password": (0, 64),
    "app": (1, 32),
}
_HEX = {"password_hash": 32, "password_sha256": 64}
_BOOLS = ("legacy_signatures", "allow_downgrade", "reboot_on_success", "restart_for_update")
_PASSWORDS = ("password", "password_hash", "password_sha256")


def _forget():
    # Those of the last healthy boot.
    try:
        os.remove("/.ota/settings")
    except OSError:
        pass


def _put(content):
    _forget()
    with open("/ota.json", "w") as f:
        f.write(content if isinstance(content, str) else json.dumps(content))


def _read(content, **overrides):
    _put(content)
    return settings.read_settings(overrides)


def _is_wrong(name, value):
    # Whether it is named in one line and left out, and everything else is as it was.
    with LogLines() as said:
        found = _read({name: value, "another": 5})
    if name in found and (name != "auth" or found[name] == value):
        assert said.lines == [] and found == {name: value, "another": 5}, (said.lines, found)
        return False
    strict = {"auth": "strict"} if name in _PASSWORDS or name == "auth" else {}
    strict["another"] = 5
    assert found == strict, (name, value, found)
    assert len(said.lines) == 1 and "ota.json: %s must" % name in said.lines[0], said.lines
    return True


# The file


def test_what_a_program_gives_takes_precedence():
    assert _read('{"port": 1, "app": "x"}', port=2) == {"port": 2, "app": "x"}


def test_a_missing_file_counts_as_empty():
    os.remove("/ota.json")
    _forget()
    assert settings.read_settings({}) == {}


def test_a_broken_file_and_a_flash_that_does_not_answer_make_the_board_strict():
    for content in ("", "{", "[]", "5", "null", '{"password": "geheim"', '{"a": "\xff'):
        assert _read(content) == {"auth": "strict"}, content
        assert _read(content, auth="classic", password="x") == {"auth": "strict", "password": "x"}
    _put({})
    settings.open = fails
    try:
        assert settings.read_settings({}) == {"auth": "strict"}
    finally:
        del settings.open


def test_a_broken_or_missing_file_counts_as_that_of_the_last_healthy_boot():
    good = {"password": "x", "port": 1}
    for broken in (None, "", "{", "[]", '{"a": "\xff'):
        _put(good)
        settings.keep()
        if broken is None:
            os.remove("/ota.json")
        else:
            with open("/ota.json", "w") as f:
                f.write(broken)
        with LogLines() as said:
            assert settings.read_settings({}) == good, broken
        assert "those of the last healthy boot" in said.lines[1], said.lines


def test_what_is_kept_is_written_once_and_never_broken():
    _put({"port": 1})
    settings.keep()
    written = []
    settings.open = lambda path, mode="r": (written.append(mode), open(path, mode))[1]
    try:
        settings.keep()
        assert written == ["rb", "rb"]
    finally:
        del settings.open
    for broken in ("", "{", " " * 4096):
        with open("/ota.json", "w") as f:
            f.write(broken)
        settings.keep()
        assert settings.read_settings({}) == {"port": 1}, broken


def test_what_is_kept_needs_no_more_memory_than_it_has():
    class File:
        def __init__(self, file):
            self._file = file

        def read(self, count=-1):
            counts.append(count)
            return self._file.read(count)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

    counts = []
    _put({"port": 1})
    settings.keep()
    settings.open = lambda path, mode="r": File(open(path, mode)) if mode == "rb" else open(path)
    try:
        settings.keep()
    finally:
        del settings.open
    assert counts == [len('{"port": 1}')] * 2, counts


def test_texts_may_have_any_characters_and_a_mark_before_them():
    for name in ("Gärten", "庭園", "\U0001f331"):
        assert _read('{"ssid": "%s"}' % name) == {"ssid": name}
        assert _read('\ufeff{"ssid": "%s"}' % name) == {"ssid": name}


def test_what_is_json_to_this_board_alone_does_no_harm():
    # MicroPython's json takes keys that are no texts.
    for content in ('{5: 1, "port": 1}', '{null: 1, "port": 1}', '{1.5: {}, "port": 1}'):
        assert _read(content)["port"] == 1, content
    for content in ("{[]: 1}", "{{}: 1}"):
        assert _read(content) == {"auth": "strict"}, content


def test_settings_of_the_application_s_own_are_left_alone():
    own = {"valves": [1, 2], "": None, "port number": 5, "x\nport": 5, "colour": {"a": 1}}
    with LogLines() as said:
        assert _read(own) == own
    assert said.lines == []


# Wrong kinds


def test_numbers():
    for name in _NUMBERS:
        least, most = _NUMBERS[name]
        for value in (least, most):
            assert not _is_wrong(name, value)
        for value in (least - 1, most + 1, 1e30, -1e30, "5", "", None, True, [1], {}):
            assert _is_wrong(name, value), (name, value)
        assert _is_wrong(name, 1.5) == (name in ("port", "step_ms"))


def test_texts_are_counted_in_bytes():
    for name in _TEXTS:
        least, most = _TEXTS[name]
        for value in ("x" * most, "x", "ü" * (most // 2), None):
            assert not _is_wrong(name, value), (name, value)
        assert _is_wrong(name, "") == (least > 0)
        for value in ("x" * (most + 1), "ü" * (most // 2 + 1), 5, True, ["x"], {}):
            assert _is_wrong(name, value), (name, value)


def test_digests_in_hex():
    for name in _HEX:
        digits = _HEX[name]
        for value in ("0" * digits, "aF" * (digits // 2), None):
            assert not _is_wrong(name, value)
        for value in ("0" * (digits - 1), "0" * (digits + 1), "g" * digits, "", 5, "ü" * digits):
            assert _is_wrong(name, value), (name, value)


def test_yes_or_no():
    for name in _BOOLS:
        for value in (True, False):
            assert not _is_wrong(name, value)
        for value in (0, 1, "true", None, [], {}):
            assert _is_wrong(name, value), (name, value)


def test_whatever_is_not_classic_is_strict():
    for value in ("classic", "strict"):
        assert not _is_wrong("auth", value)
    for value in ("", "Strict", "STRICT", "strict ", "Classic", "sha256", "x" * 40, 5, None, True):
        assert _is_wrong("auth", value), value


def test_a_wrong_password_opens_the_board_to_nobody():
    for name in _PASSWORDS:
        found = _read({name: 5, "auth": "classic"})
        assert found == {"auth": "strict"}
    assert _read({"password": 5, "password_sha256": "0" * 64})["auth"] == "strict"
    # One that a program gives, too.
    assert _read({}, password=5) == {"auth": "strict"}


def test_each_wrong_setting_gets_a_line_of_its_own():
    with LogLines() as said:
        found = _read({"port": 0, "hostname": "x" * 33, "app": "garden", "key": 5})
    assert found == {"app": "garden"}
    assert sorted(said.lines) == [
        "ota.json: hostname must have 1 to 32 characters: its default is used",
        "ota.json: key must be a text: its default is used",
        "ota.json: port must be from 1 to 65535: its default is used",
    ]


# Pins


def _pins(content):
    # What is done to pins, in any order.
    _put(content)
    done = []
    real = hal.set_pin
    hal.set_pin = lambda number, level: done.append((number, level))
    try:
        settings.set_safe_pins()
    finally:
        hal.set_pin = real
    return sorted(done)


def test_safe_pins_get_their_levels():
    assert _pins({"safe_pins": {"5": 0, "12": 1, "16": 1, "0": 0}}) == [
        (0, 0),
        (5, 0),
        (12, 1),
        (16, 1),
    ]
    _put({"safe_pins": {"5": 1, "4": 0}})
    machine.Pin(4, machine.Pin.OUT, value=1)
    settings.set_safe_pins()
    assert (machine.Pin(5).value(), machine.Pin(4).value()) == (1, 0)


def test_without_safe_pins_or_with_wrong_ones_no_pin_is_touched():
    for pins in (
        {},
        [],
        5,
        "5",
        None,
        True,
        {"17": 1},
        {"-1": 1},
        {"x": 1},
        {"": 1},
        {"5": 2},
        {"5": "1"},
        {"5": None},
        {"5": 1, "99": 1},
    ):
        assert _pins({"safe_pins": pins}) == [], pins
        assert _is_wrong("safe_pins", pins) == (pins != {}), pins
    for content in ("", "{", "[]", "{}", '{"safe_pins": {null: 1}}', '{"safe_pins": {5.5: 1}}'):
        assert _pins(content) == [], content
    # MicroPython's json takes a pin without quotes.
    assert _pins('{"safe_pins": {5: 1}}') == [(5, 1)]


def test_a_pin_that_the_chip_refuses_keeps_no_other_from_its_level():
    done = []

    def set_pin(number, level):
        if number == 7:
            raise ValueError("invalid pin")
        done.append((number, level))

    _put({"safe_pins": {"4": 1, "7": 1, "5": 0}})
    real = hal.set_pin
    hal.set_pin = set_pin
    try:
        with LogLines() as said:
            settings.set_safe_pins()
    finally:
        hal.set_pin = real
    assert sorted(done) == [(4, 1), (5, 0)]
    assert len([line for line in said.lines if "7" in line]) == 1, said.lines
