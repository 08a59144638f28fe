"""The end of a trial: when the keys that a release brings take the place of the board's."""

import os
import sys

from flash_stubs import Os, fails
from ota import OTA, keys, slots, trial

_reset = trial.hal.reset

_OLD = b"MPKY\x80\x00\x80" + bytes(126) + b"\x01"
_NEW = _OLD + b"\x81\x00\x80" + bytes(127) + b"\x03"


def _module():
    # The record module of now: a trial's end makes the package forget it.
    from ota import record

    return record


class Ota:
    """What a trial's end uses of `ota.OTA`."""

    auto_confirm = True
    healthy = False
    trial = True


def _set_up(brought=_NEW, old=_OLD):
    # A board with the keys *old* and a release on trial in slot b that brings *brought*.
    slots.remove("/.ota")
    for name in (keys.KEYS, keys.KEYS + ".new"):
        slots.remove(name)
    r = _module().Record()
    r.active, r.trial, r.sequence = "a", "b", 7
    r.store()
    for name, content in (("/.ota/b/ota.keys", brought), (keys.KEYS, old)):
        if content is not None:
            try:
                os.mkdir("/.ota/b")
            except OSError:
                pass
            with open(name, "wb") as f:
                f.write(content)
    return Ota()


def _keys():
    try:
        with open(keys.KEYS, "rb") as f:
            return f.read(5000)
    except OSError:
        return None


def _is_confirmed():
    assert keys.KEYS[1:] + ".new" not in os.listdir("/")
    r = _module().load()
    return (r.active, r.trial, r.floor) == ("b", None, 7)


def _is_taken_back():
    r = _module().load()
    return (r.active, r.trial, r.rejected) == ("a", None, 7)


def _is_on_trial():
    assert keys.KEYS[1:] + ".new" not in os.listdir("/")
    return _module().load().trial == "b"


def test_confirm_takes_the_keys_over():
    for old in (_OLD, None, b"broken"):
        ota = _set_up(old=old)
        trial.confirm(ota)
        assert _keys() == _NEW and _is_confirmed() and not ota.trial


def test_health_takes_the_keys_over_only_if_it_confirms():
    ota = _set_up()
    ota.auto_confirm = False
    trial.become_healthy(ota)
    assert _keys() == _OLD and _module().load().trial == "b"
    ota.auto_confirm = True
    trial.become_healthy(ota)
    assert _keys() == _NEW and _is_confirmed()


def test_outside_a_trial_confirm_and_reject_change_nothing():
    _set_up()
    services = OTA()
    assert services.confirm() is True
    assert _resets_of(services.reject) == 0
    assert _keys() == _OLD and _module().load().trial == "b"


def test_a_flash_that_does_not_answer_does_not_say_that_a_release_has_no_keys():
    ota = _set_up()
    real = os.stat
    os_module = Os(stat=lambda path: fails() if path == "/.ota/b/ota.keys" else real(path))
    sys.modules["os"], before = os_module, sys.modules.get("os")
    try:
        trial.confirm(ota)
        raise AssertionError("no OSError")
    except OSError as e:
        assert e.errno == 5
    finally:
        if before is None:
            del sys.modules["os"]
        else:
            sys.modules["os"] = before
    assert ota.trial and _is_on_trial()


def test_a_release_without_keys_leaves_those_of_the_board():
    for old in (_OLD, None):
        trial.confirm(_set_up(brought=None, old=old))
        assert _keys() == old and _is_confirmed()


def _resets_of(function, *args):
    # How often *function* resets the board; here it goes on after that.
    resets = []
    trial.hal.reset = lambda: resets.append(1)
    try:
        function(*args)
    finally:
        trial.hal.reset = _reset
    return len(resets)


def test_a_release_with_broken_keys_is_taken_back():
    for broken in (b"", b"garbage", b"MPKY", _NEW[:-1], _NEW + b"x", b"-----BEGIN PUBLIC KEY-----"):
        assert _resets_of(trial.confirm, _set_up(broken)) == 1, broken
        assert _keys() == _OLD and _is_taken_back(), broken


def test_a_release_that_is_taken_back_changes_no_keys():
    _set_up()
    assert _resets_of(trial.reject) == 1
    assert _keys() == _OLD and _is_taken_back()
    assert _resets_of(trial.give_up) == 1


def test_the_keys_change_before_the_record():
    ota = _set_up()
    seen = []
    record = _module()
    store = record.Record.store
    record.Record.store = lambda self: (seen.append(_keys()), store(self))
    try:
        trial.confirm(ota)
    finally:
        record.Record.store = store
    assert seen == [_NEW]


def test_a_record_that_cannot_be_written_is_made_good_by_the_next_confirmation():
    ota = _set_up()
    record = _module()
    record.os = Os(rename=fails)
    try:
        trial.confirm(ota)
        raise AssertionError("no OSError")
    except OSError:
        pass
    finally:
        record.os = os
    assert ota.trial and _module().load().trial == "b"
    trial.confirm(ota)
    assert _keys() == _NEW and _is_confirmed()


class File:
    """A file whose *write* and *read* can be replaced."""

    def __init__(self, file, **functions):
        self._file = file
        self._functions = functions

    def __getattr__(self, name):
        return self._functions.get(name) or getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def _confirm_with(**functions):
    # With *functions* in the file that the new keys are written to and read back from.
    def open_one(path, mode):
        file = open(path, mode)
        return File(file, **functions) if path.endswith(".new") else file

    ota = _set_up()
    trial.open = open_one
    try:
        trial.become_healthy(ota)
        raise AssertionError("no OSError")
    except OSError:
        pass
    finally:
        del trial.open
    assert _keys() == _OLD and _is_on_trial() and not ota.healthy, functions
    trial.become_healthy(ota)
    assert _keys() == _NEW and _is_confirmed() and ota.healthy, functions


def test_keys_that_cannot_be_taken_over_leave_the_trial_going_on_until_they_can():
    for functions in (
        {"write": fails},
        {"read": fails},
        {"read": lambda n: b""},
        {"write": lambda part: len(part)},
    ):
        _confirm_with(**functions)


def test_keys_that_are_written_wrongly_are_not_taken_over():
    from io import BytesIO

    changed = bytearray(_NEW)
    changed[50] ^= 1
    spoiled = BytesIO(changed)
    _confirm_with(read=spoiled.read)
