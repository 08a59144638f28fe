"""The restart into the services alone: when it is done, and what is kept over it."""

import os
from struct import calcsize

import ota
from hardware_stubs import Reset
from ota import hal, restart
from ota.errors import OTAError
from ota.record import Record, load
from sample_image import empty_board, runs

_INVITATION = (0, 40001, 90000, "0123456789abcdef" * 2, "fedcba9876543210" * 4)
_ADDRESS = ("192.168.4.17", 50000)


class Ota(ota.OTA):
    """An `ota.OTA` that has not begun, of an application that leaves too little heap."""

    slot = "a"

    def __init__(self, **settings):
        self.settings = settings


def _restarts(services, service=None):
    hal.keep(b"")
    runs("a")
    try:
        restart.restart(services, service, restart.ARDUINO, _INVITATION, _ADDRESS)
    except Reset:
        assert hal.get_state() == (0, hal.ASKED)
        assert restart.take() == (restart.ARDUINO, _INVITATION, _ADDRESS)
        return True
    assert hal.get_state() == (0, "a") and hal.kept() == bytes(92)
    return False


def _refuses(services):
    try:
        _restarts(services)
    except OTAError as e:
        assert hal.get_state() == (0, "a") and hal.kept() == bytes(92)
        return e.code
    raise AssertionError("no OTAError")


# When


def test_a_board_with_a_password_restarts_and_one_without_does_not():
    assert _restarts(Ota(password="x"))
    assert _restarts(Ota(password_sha256="0" * 64))
    assert not _restarts(Ota())
    assert not _restarts(Ota(password=""))


def test_not_where_it_is_set_so_nor_without_an_application_nor_in_a_trial():
    assert _restarts(Ota(password="x", restart_for_update=True))
    assert not _restarts(Ota(password="x", restart_for_update=False))
    services = Ota(password="x")
    services.slot = None
    assert not _restarts(services)
    services = Ota(password="x")
    services.trial = True
    assert _refuses(services) == 34


def test_not_where_updates_are_not_allowed_now():
    services = Ota(password="x")
    called = []
    services.on_start(lambda: called.append(1))
    services.gate = lambda: False
    assert _refuses(services) == 33 and not called
    services.gate = lambda: True
    assert _restarts(services) and called == [1]


def test_the_application_is_asked_before_and_may_refuse():
    def veto():
        raise RuntimeError("the valve is open " + "x" * 100)

    service = ota.Callbacks()
    for callbacks in ("ota", "service"):
        services = Ota(password="x")
        failed = []
        services.on_error(failed.append)
        (services if callbacks == "ota" else service).on_start(veto)
        try:
            _restarts(services, service)
            raise AssertionError("no OTAError")
        except OTAError as e:
            assert e.code == 32 and e.detail == "the valve is open " + "x" * 22
        assert failed == [1]
        assert hal.get_state() == (0, "a") and hal.kept() == bytes(92)


def test_the_application_is_not_asked_where_there_is_no_memory_for_the_restart():
    def full(_):
        raise MemoryError

    services = Ota(password="x")
    called = []
    services.on_start(lambda: called.append(1))
    runs("a")
    real, hal.keep = hal.keep, full
    try:
        restart.prepare(services, None, restart.PULL)
        raise AssertionError("no MemoryError")
    except MemoryError:
        assert not called and hal.get_state() == (0, "a")
    finally:
        hal.keep = real


# What is kept


def test_what_was_kept_is_taken_once():
    for command in (0, 100):
        for port in (1024, 65535):
            for size in (1, 102144, 0xFFFFFFFF):
                for sha256 in ("", "ab" * 32):
                    invitation = (command, port, size, "0" * 31 + "f", sha256)
                    restart.keep(restart.ARDUINO, invitation, ("10.0.0.255", 1))
                    expected = (restart.ARDUINO, invitation, ("10.0.0.255", 1))
                    assert restart.take() == expected
                    assert restart.take() is None


def test_the_boots_that_were_counted_stay():
    hal.set_state(6, "a")
    assert restart.prepare(Ota(), None, restart.ARDUINO, _INVITATION, _ADDRESS)
    assert hal.get_state() == (6, hal.ASKED)


def test_a_block_that_is_damaged_counts_as_nothing():
    restart.keep(restart.ARDUINO, _INVITATION, _ADDRESS)
    good = hal.kept()
    for at in range(76):
        for bit in (0, 7):
            data = bytearray(good)
            data[at] ^= 1 << bit
            hal.keep(bytes(data))
            assert restart.take() is None, at
    for data in (b"", b"\xff" * 92, good[:40]):
        hal.keep(data)
        assert restart.take() is None
    hal.keep(good)
    assert restart.take()


def test_a_block_of_another_version_counts_as_nothing():
    from uhashlib import sha256

    restart.keep(restart.ARDUINO, _INVITATION, _ADDRESS)
    body = bytearray(hal.kept()[:68])
    for at, value in ((4, 2), (4, 0), (0, 78)):
        changed = bytearray(body)
        changed[at] = value
        hal.keep(bytes(changed) + sha256(changed).digest()[:8])
        assert restart.take() is None
    hal.keep(bytes(body) + sha256(body).digest()[:8])
    assert restart.take()


# What is told


def test_how_it_ended_is_noted_in_the_record():
    empty_board()
    runs(None)
    r = Record()
    r.active, r.floor = "a", 7
    r.store()
    restart.note("failed: no network for 60 s")
    assert load().outcome == "failed: no network for 60 s"
    assert (load().active, load().floor) == ("a", 7)


def test_an_update_needs_more_heap_where_there_are_keys():
    word = calcsize("P")
    try:
        os.remove("/ota.keys")
    except OSError:
        pass
    plain = restart.needed_heap()
    with open("/ota.keys", "w") as f:
        f.write("any")
    signed = restart.needed_heap()
    os.remove("/ota.keys")
    assert 10000 <= plain // word * 4 < signed // word * 4 <= 20000
