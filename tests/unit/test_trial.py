"""The end of a trial: confirmed, with the keys of the release, or taken back; and going back."""

import os
from struct import calcsize

import ota
from flash_stubs import Os, fails
from hardware_stubs import Reset
from ota import exchange, hal, log, record, slots, trial
from ota.errors import OTAError
from ota.record import Record, load
from sample_image import empty_board, error_of, fill_slot, image, marks_of, runs

_KEYS = "/ota.keys"
_NEW_KEYS = "/ota.keys.new"
_OLD = b"MPKY\x80\x00\x80" + bytes(126) + b"\x01"
_NEW = _OLD + b"\x81\x00\x80" + bytes(127) + b"\x03"
# Where a release's files are while it runs.
_BROUGHT = "/app/ota.keys"


class Ota(ota.OTA):
    """An `ota.OTA` that has not begun, of an application on trial."""

    trial = True
    slot = "b"

    def __init__(self, **settings):
        self.settings = settings


def _remove(*names):
    for name in names:
        try:
            os.remove(name)
        except OSError:
            pass


def _write(name, content):
    if content is not None:
        with open(name, "wb") as f:
            f.write(content)


def _on_trial(brought=_NEW, old=_OLD, boots=3, **fields):
    # A board with the keys *old*, and release 8 on trial in slot b, which brings *brought*.
    empty_board()
    exchange.remove_rest()
    fill_slot("a", image(7))
    fill_slot("b", image(8))
    _remove(_KEYS, _NEW_KEYS, _BROUGHT)
    try:
        os.mkdir("/app")
    except OSError:
        pass
    _write(_BROUGHT, brought)
    _write(_KEYS, old)
    r = Record()
    r.active, r.trial, r.attempts, r.floor = "a", "b", 1, 7
    r.received = {"a": (7, 1, b""), "b": (8, 1, b"")}
    for name in fields:
        setattr(r, name, fields[name])
    r.store()
    runs("b", is_trial=True)
    hal.set_state(boots, "B")
    services = Ota()
    services.slot = r.trial
    return services


def _keys():
    try:
        with open(_KEYS, "rb") as f:
            return f.read(5000)
    except OSError:
        return None


def _is_confirmed():
    assert _NEW_KEYS[1:] not in os.listdir("/")
    r = load()
    assert marks_of("a")[4:] == marks_of("b")[4:] == b"\xff" * 4
    return (r.active, r.trial, r.floor, hal.get_state()) == ("b", None, 8, (0, "b"))


def _is_taken_back(why):
    r = load()
    assert r.outcome == ("taken back: 8: " + why)[:48], r.outcome
    assert marks_of("b") == b"ACPTRJCT"
    return (r.active, r.trial, r.rejected, r.floor) == ("a", None, 8, 7)


def _is_on_trial():
    assert _NEW_KEYS[1:] not in os.listdir("/")
    return (load().trial, load().attempts) == ("b", 1)


def _resets(function, *args):
    # Whether *function* resets the board.
    try:
        function(*args)
    except Reset:
        return True
    return False


def _raises_oserror(function, *args):
    try:
        function(*args)
    except OSError:
        return True
    return False


# Confirmed


def test_confirm_makes_it_the_version_of_every_boot():
    services = _on_trial(brought=None)
    generation = load().generation
    trial.confirm(services)
    assert _is_confirmed() and not services.trial
    assert load().generation == generation + 1 and load().outcome == "confirmed: 8"


def test_confirm_takes_the_keys_over():
    for old in (_OLD, None, b"broken"):
        services = _on_trial(old=old)
        trial.confirm(services)
        assert _keys() == _NEW and _is_confirmed()


def test_a_release_without_keys_leaves_those_of_the_board():
    for old in (_OLD, None):
        trial.confirm(_on_trial(brought=None, old=old))
        assert _keys() == old and _is_confirmed()


def test_health_confirms_only_where_the_application_does_not_do_so_itself():
    services = _on_trial()
    services.auto_confirm = False
    trial.become_healthy(services)
    assert services.healthy and _keys() == _OLD and _is_on_trial()
    assert services.confirm() is True
    assert _keys() == _NEW and _is_confirmed()
    services = _on_trial()
    trial.become_healthy(services)
    assert services.healthy and _keys() == _NEW and _is_confirmed()


def test_outside_a_trial_health_clears_the_count_of_boots_and_writes_nothing():
    services = _on_trial(trial=None)
    services.trial = False
    hal.set_state(4, "b")
    generation = load().generation
    trial.become_healthy(services)
    assert services.healthy and hal.get_state() == (0, "b")
    assert load().generation == generation


def test_outside_a_trial_confirm_and_reject_change_nothing():
    services = _on_trial()
    services.trial = False
    generation = load().generation
    assert services.confirm() is True
    assert not _resets(services.reject)
    assert _keys() == _OLD and load().generation == generation


def test_what_was_confirmed_though_the_flash_said_not_is_not_confirmed_twice():
    services = _on_trial()
    trial.confirm(services)
    services.trial = True
    generation = load().generation
    assert services.confirm() is True
    assert load().generation == generation and _is_confirmed()


def test_what_was_taken_back_is_not_confirmed_if_the_board_has_not_restarted():
    services = _on_trial()
    trial.take_back("the owner wished it")
    assert _resets(trial.confirm, services)
    assert load().active == "a" and load().rejected == 8 and _keys() == _OLD


def test_the_keys_change_before_the_record():
    services = _on_trial()
    seen = []
    store = record.Record.store
    record.Record.store = lambda self: (seen.append(_keys()), store(self))
    try:
        trial.confirm(services)
    finally:
        record.Record.store = store
    assert seen == [_NEW]


def test_a_record_that_cannot_be_written_is_made_good_by_the_next_confirmation():
    services = _on_trial()
    record.uos = Os(rename=fails)
    try:
        assert _raises_oserror(trial.confirm, services)
        assert services.confirm() is False
    finally:
        record.uos = os
    assert services.trial and _is_on_trial()
    assert services.confirm() is True
    assert _keys() == _NEW and _is_confirmed()


def test_a_flash_that_does_not_answer_does_not_say_that_a_release_has_no_keys():
    services = _on_trial()
    trial.uos = Os(stat=fails)
    try:
        assert _raises_oserror(trial.confirm, services)
    finally:
        trial.uos = os
    assert services.trial and _is_on_trial()


class Gc:
    """A `gc` that reports *free* bytes as free."""

    def __init__(self, free):
        self._free = free

    def collect(self):
        pass

    def mem_free(self):
        return self._free


def test_a_release_that_leaves_too_little_heap_for_the_next_update_is_not_confirmed():
    word = calcsize("P")
    real = trial.gc
    try:
        for words, settings, confirmed in (
            (2300, {}, True),
            (2299, {}, False),
            (700, {"password": "x"}, True),
            (2299, {"password": "x", "restart_for_update": False}, False),
            (699, {"password": "x"}, False),
            (1600, {"update_url": "http://x/"}, True),
            (1599, {"update_url": "http://x/", "password": "x"}, False),
            (2250, {"ddi_url": "http://x/"}, True),
            (2249, {"ddi_url": "http://x/", "update_url": "http://x/"}, False),
        ):
            services = _on_trial(brought=None, old=None)
            services.settings = settings
            trial.gc = Gc(words * word)
            assert services.confirm() is confirmed, (words, settings)
            assert _is_confirmed() if confirmed else _is_on_trial()
    finally:
        trial.gc = real


def test_a_release_that_leaves_too_little_heap_for_a_moment_is_confirmed_when_there_is_more():
    services = _on_trial(brought=None)
    real = trial.gc
    trial.gc = Gc(1000)
    try:
        trial.become_healthy(services)
    finally:
        trial.gc = real
    assert _is_on_trial() and not services.healthy
    trial.become_healthy(services)
    assert _is_confirmed() and services.healthy


# New data


def _folder(path, count):
    exchange.remove(path)
    os.mkdir(path)
    for i in range(count):
        _write("%s/%d" % (path, i), b"x")


def _with_data(slot="a", **fields):
    # The same board with new data on trial: with release 8, or alone in release 7 of slot a.
    settings = {"trial": slot, "data": 1}
    settings.update(fields)
    services = _on_trial(**settings)
    runs(slot, is_trial=True)
    exchange.remove_rest()
    os.mkdir("/.ota/data")
    _folder("/data", 20)
    _folder("/.ota/data/old", 20)
    return services


def test_data_before_are_removed_when_the_new_ones_are_confirmed_and_not_earlier():
    for slot, outcome in (("a", "confirmed: data"), ("b", "confirmed: 8")):
        services = _with_data(slot)
        calls = 0
        while not services.healthy:
            generation = load().generation
            trial.become_healthy(services)
            calls += 1
            assert load().outcome == outcome and not services.trial
        assert calls > 2 and load().generation == generation  # the record is written once
        assert (load().active, load().data) == (slot, 0)
        assert "data" not in os.listdir("/.ota") and len(os.listdir("/data")) == 20


def test_an_application_that_confirms_itself_later_has_the_data_before_removed_too():
    services = _with_data()
    services.auto_confirm = False
    trial.become_healthy(services)
    assert services.healthy and len(os.listdir("/.ota/data/old")) == 20
    assert services.confirm() is True and not services.healthy
    while not services.healthy:
        trial.become_healthy(services)
    assert "data" not in os.listdir("/.ota")


def test_data_on_trial_alone_do_not_bring_the_keys_of_their_application_back():
    services = _with_data(brought=_NEW)
    assert services.confirm() is True
    assert _keys() == _OLD
    services = _with_data("b", brought=_NEW)
    assert services.confirm() is True
    assert _keys() == _NEW


def test_data_that_are_rejected_are_taken_back_by_the_next_boot():
    services = _with_data()
    assert _resets(services.reject, "cold")
    assert (load().data, load().trial) == (2, None)
    assert load().outcome == "taken back: data: cold"
    assert len(os.listdir("/.ota/data/old")) == 20


def test_nothing_is_removed_while_an_update_goes_on_or_waits_for_its_application():
    for name in ("updater", "has_staged_data"):
        services = _with_data()
        trial.confirm(services)
        setattr(services, name, True)
        trial.become_healthy(services)
        assert services.healthy and len(os.listdir("/.ota/data/old")) == 20


def test_what_cannot_be_removed_does_not_keep_an_application_from_being_healthy():
    services = _with_data()
    exchange.uos = Os(remove=fails)
    try:
        trial.become_healthy(services)
    finally:
        exchange.uos = os
    assert services.healthy


def test_a_version_whose_data_are_gone_is_not_gone_back_to():
    digest = "5a" * 16
    for there, is_taken in ((digest, True), ("00" * 16, False), (None, False)):
        services = _with_data(trial=None, data=0, active="a")
        services.trial = False
        fill_slot("b", image(8, more=b"data %s\n" % digest.encode()))
        if there:
            _write("/data/.mpota", there.encode() * 2)
        error = error_of(trial.go_back, services, "a wish")
        assert (load().trial == "b") == is_taken, there
        assert is_taken or "data of the version before are gone" in error


# Keys that are not taken over


def test_a_release_with_broken_keys_is_taken_back():
    for broken in (b"", b"garbage", b"MPKY", _NEW[:-1], _NEW + b"x", b"-----BEGIN PUBLIC KEY-----"):
        services = _on_trial(broken)
        assert _resets(trial.confirm, services), broken
        assert _keys() == _OLD, broken
        assert load().outcome.startswith("taken back: 8: its keys are broken"), load().outcome


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
        return File(file, **functions) if path == _NEW_KEYS else file

    services = _on_trial()
    trial.open = open_one
    try:
        assert _raises_oserror(trial.become_healthy, services)
    finally:
        del trial.open
    assert _keys() == _OLD and _is_on_trial() and not services.healthy, functions
    trial.become_healthy(services)
    assert _keys() == _NEW and _is_confirmed() and services.healthy, functions


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


# Taken back, given up


def test_a_release_that_is_taken_back_is_marked_and_remembered_and_the_board_restarts():
    services = _on_trial()
    assert _resets(services.reject)
    assert _is_taken_back("the application wished it") and _keys() == _OLD
    services = _on_trial()
    assert _resets(services.reject, "it is too warm")
    assert _is_taken_back("it is too warm")


def test_a_trial_that_is_given_up_restarts_and_is_counted_by_boot():
    services = _on_trial()
    generation = load().generation
    assert _resets(trial.give_up)
    assert _is_on_trial() and load().generation == generation and services.trial


def test_the_last_outcome_is_what_the_record_says():
    services = _on_trial(outcome="confirmed: 7")
    assert services.last_outcome == "confirmed: 7"
    os.remove("/.ota/record")
    assert services.last_outcome == ""


# Gone back


def _confirmed(**fields):
    # A board that runs release 8 in slot b, and has release 7 before it.
    services = _on_trial(active="b", trial=None, attempts=0, floor=8, **fields)
    services.trial = False
    runs("b")
    return services


def test_the_version_before_is_tried_again():
    services = _confirmed()
    assert _resets(services.revert)
    r = load()
    assert (r.active, r.trial, r.attempts, r.is_revert) == ("b", "a", 0, True)
    assert (r.floor, r.rejected) == (8, 0) and slots.is_accepted("b")


def test_when_it_is_confirmed_the_release_that_was_left_is_not_taken_again():
    services = _confirmed()
    assert _resets(services.revert)
    services = Ota()
    services.slot = "a"
    runs("a", is_trial=True)
    _remove(_BROUGHT)
    assert services.confirm() is True
    r = load()
    assert (r.active, r.trial, r.floor, r.rejected) == ("a", None, 8, 8)
    # From there the owner may go forward again.
    services.trial = False
    assert _resets(services.revert)
    assert (load().trial, load().is_revert) == ("b", True)


def test_there_is_no_way_back_to_what_is_not_usable():
    data = image(7)
    for content, accepted, rejected in (
        (data, False, False),
        (data, True, True),
        (data[:-4], True, False),
        (data[:60] + b"?" + data[61:], True, False),
        (b"", False, False),
    ):
        services = _confirmed()
        fill_slot("a", content, accepted, rejected)
        generation = load().generation
        try:
            services.revert()
            raise AssertionError("no OTAError")
        except OTAError as e:
            assert e.code == 37 and "no version before" in e.detail
        assert load().generation == generation


def test_there_is_no_way_back_while_a_new_version_waits_for_its_trial():
    # It lies in the place of the version before.
    services = _confirmed()
    r = load()
    r.trial = "a"
    r.store()
    try:
        services.revert()
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert e.code == 37
    assert load().trial == "a" and not load().is_revert


def test_the_release_that_is_gone_back_to_is_known_by_its_own_manifest():
    # The record may tell of an image that was received there and refused.
    services = _confirmed(received={"a": (9, 1, b"x" * 16), "b": (8, 1, b"")})
    assert _resets(services.revert)
    assert load().received["a"] == (7, 0, bytes(16))


def test_on_a_board_without_a_version_there_is_no_way_back():
    services = _confirmed()
    r = load()
    r.active = None
    r.store()
    try:
        services.revert()
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert e.code == 37


def test_in_a_trial_the_way_back_is_to_take_it_back():
    services = _on_trial()
    assert _resets(services.revert)
    assert _is_taken_back("the application wished it")


def test_what_becomes_of_a_trial_is_logged():
    lines = []
    real = log.info, log.error
    log.info = log.error = lambda text, *args: lines.append(text % args)
    try:
        trial.confirm(_on_trial())
        _resets(_on_trial().reject, "x")
        _resets(_confirmed().revert)
    finally:
        log.info, log.error = real
    for words in (
        "keys of this release",
        "slot b is confirmed",
        "taken back: x",
        "slot a is tried",
    ):
        assert [line for line in lines if words in line], words
