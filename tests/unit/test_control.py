"""Status, confirm, reject and revert, as a host asks for them."""

import os

from hardware_stubs import OWN_IP, Reset, Station
from ota import hal, slots
from ota.arduino import control
from ota.record import Record, load
from sample_image import empty_board, fill_slot, image, marks_of, runs
from udp_stub import HOST, Listener


def _board(slot="b", trial=False, outcome="", **settings):
    # A listener of a board that runs *slot*, with releases 7 in a and 8 in b.
    empty_board()
    fill_slot("a", image(7))
    fill_slot("b", image(8))
    r = Record()
    r.active = "a" if trial else slot
    r.trial = slot if trial else None
    r.received = {"a": (7, 1, b""), "b": (8, 1, b"")}
    r.floor = 7
    r.outcome = outcome
    r.store()
    runs(slot, trial)
    listener = Listener(**settings)
    listener.ota.slot, listener.ota.trial = slot, trial
    listener.ota.station = Station(Station.IF_STA)
    listener.ota.uptime_s = 4711
    listener.ota.begun = 0
    return listener


def _answer(listener, command):
    # Returns (the answers, whether the board restarts).
    try:
        control.begin(listener, command, HOST)
        restarts = False
    except Reset:
        restarts = True
    assert [address for _, address in listener.net.sent] == [HOST] * len(listener.net.sent)
    return [text for text, _ in listener.net.sent], restarts


def _status(**board):
    attributes = board.pop("attributes", {})
    listener = _board(**board)
    for name in attributes:
        setattr(listener.ota, name, attributes[name])
    texts, restarts = _answer(listener, b"status")
    assert len(texts) == 1 and len(texts[0]) <= 256 and not restarts
    lines = [line.split(" ", 1) for line in texts[0].decode().split("\n")]
    return dict(lines), [key for key, _ in lines]


# Status


def test_the_status_tells_what_runs():
    found, keys = _status(outcome="confirmed: 8")
    assert keys == [
        "name",
        "version",
        "sequence",
        "digest",
        "slot",
        "state",
        "heap",
        "firmware",
        "uptime",
        "address",
        "outcome",
    ]
    assert (found["name"], found["version"], found["sequence"]) == ("sample", "1.2.3", "8")
    assert (found["slot"], found["state"], found["uptime"]) == ("b", "idle", "4711")
    assert (found["address"], found["outcome"]) == (OWN_IP, "confirmed: 8")
    assert int(found["heap"]) > 1000 and len(found["firmware"].split(".")) == 3


def test_the_status_tells_which_image_the_data_came_from():
    listener = _board(outcome="x" * 48)
    os.mkdir("/data")
    with open("/data/.mpota", "w") as f:
        f.write("0123456789abcdef" * 4)
    texts, _ = _answer(listener, b"status")
    assert b"\ndata 01234567\nslot b\n" in texts[0] and len(texts[0]) <= 256
    os.remove("/data/.mpota")
    texts, _ = _answer(listener, b"status")
    assert b"\ndata" not in texts[1] and b"\noutcome xxx" in texts[1]
    os.rmdir("/data")


def test_the_state_is_one_of_five():
    for board, attributes, state in (
        ({}, {}, "idle"),
        ({}, {"healthy": True}, "healthy"),
        ({"slot": None}, {}, "services"),
        ({}, {"has_ended": True}, "services"),
        ({"slot": None}, {"is_alone": True}, "alone"),
    ):
        assert _status(attributes=attributes, **board)[0]["state"] == state
    from fake_clock import Clock

    for settings, ms, left in (
        ({}, 0, 600),
        ({"trial_s": 70}, 10000, 60),
        ({"trial_s": 70}, 90000, 0),
    ):
        with Clock() as clock:
            clock.now = ms
            found, _ = _status(trial=True, **settings)
            assert found["state"] == "trial %d" % left


def test_without_an_application_nothing_is_told_of_one():
    found, keys = _status(slot=None)
    assert keys[0] == "slot" and found["slot"] == "-"


def test_a_long_outcome_is_cut_off():
    found, _ = _status(outcome="x" * 48)
    assert "outcome" in found
    listener = _board(outcome="x" * 48)
    fill_slot("b", image(8, name=b"n" * 32))
    texts, _ = _answer(listener, b"status")
    assert len(texts[0]) <= 256


def test_a_slot_or_a_record_that_cannot_be_read_keeps_no_status_from_being_told():
    listener = _board()
    fill_slot("b", b"nothing")
    texts, _ = _answer(listener, b"status")
    assert b"slot b" in texts[0]
    listener = _board()
    os.remove("/.ota/record")
    texts, _ = _answer(listener, b"status")
    assert b"sequence 8" in texts[0]


# What is done


def test_confirm():
    listener = _board(trial=True)
    assert _answer(listener, b"confirm") == ([b"OK"], False)
    assert (load().active, load().trial) == ("b", None) and not listener.ota.trial
    assert hal.get_state() == (0, "b")


def test_a_confirmation_that_fails_is_said():
    listener = _board(trial=True)
    listener.ota.confirm = lambda: False
    (text,), restarts = _answer(listener, b"confirm")
    assert text.startswith(b"ERR: ") and not restarts and load().trial == "b"


def test_reject_answers_and_then_restarts():
    listener = _board(trial=True)
    assert _answer(listener, b"reject") == ([b"OK"], True)
    assert load().outcome == "taken back: 8: the owner wished it"
    assert (load().active, load().rejected) == ("a", 8) and marks_of("b") == b"ACPTRJCT"


def test_revert_answers_and_then_restarts():
    listener = _board()
    assert _answer(listener, b"revert") == ([b"OK"], True)
    assert (load().active, load().trial, load().is_revert) == ("b", "a", True)
    # In a trial it takes that back.
    listener = _board(trial=True)
    assert _answer(listener, b"revert") == ([b"OK"], True)
    assert (load().active, load().trial, load().rejected) == ("a", None, 8)


def test_what_cannot_be_done_is_said_and_nothing_restarts():
    for command in (b"confirm", b"reject"):
        assert _answer(_board(), command) == ([b"ERR: no version is on trial"], False)
    listener = _board()
    fill_slot("a", image(7), rejected=True)
    (text,), restarts = _answer(listener, b"revert")
    assert b"ERROR[37]" in text and b"no version before" in text and not restarts
    assert load().trial is None and slots.is_accepted("b")
