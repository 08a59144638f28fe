"""The folder /data is exchanged for a new one, and back, from wherever the power failed; what is
removed afterwards.
"""

import os

from flash_stubs import Os, fails
from ota import exchange
from ota.record import Record
from sample_image import empty_board

_NEW = "/.ota/data/new"
_OLD = "/.ota/data/old"
_IMAGE = "/.ota/data/image"

_BEFORE = {"settings.json": b"{}", "pages/index.html": b"old" * 100, "a/b/c/deep": b"x"}
_AFTER = {"pages/index.html": b"new" * 2000, "fonts/small": b"f"}


def _make(path, files):
    for name in files:
        parts = (path + "/" + name).split("/")
        for i in range(2, len(parts)):
            try:
                os.mkdir("/".join(parts[:i]))
            except OSError:
                pass
        with open(path + "/" + name, "wb") as f:
            f.write(files[name])


def _found(path, prefix=""):
    # The files of the folder *path*, None where there is no folder.
    try:
        entries = list(os.ilistdir(path))
    except OSError:
        return None
    files = {}
    for entry in entries:
        if entry[1] == 0x4000:
            files.update(_found(path + "/" + entry[0], prefix + entry[0] + "/"))
        else:
            with open(path + "/" + entry[0], "rb") as f:
                files[prefix + entry[0]] = f.read()
    return files


def _clean(before=_BEFORE, after=_AFTER):
    empty_board()
    for path in ("/.ota/data", "/data"):
        exchange.remove(path)
    try:
        os.mkdir("/.ota")
    except OSError:
        pass
    os.mkdir("/.ota/data")
    if before is not None:
        _make("/data", before)
    if after is not None:
        _make(_NEW, after)


class Cut(Exception):
    """The power fails."""


def _cut_after(count, function):
    # Calls *function* and lets the power fail before its change number *count* of the folders.
    # Returns whether it failed.
    left = [count]

    def of(name):
        def change(*args):
            if not left[0]:
                raise Cut
            left[0] -= 1
            getattr(os, name)(*args)

        return change

    exchange.uos = Os(**{name: of(name) for name in ("rename", "mkdir", "remove", "rmdir")})
    try:
        function()
        return False
    except Cut:
        return True
    finally:
        exchange.uos = os


# The exchange


def test_new_data_become_data_and_those_before_are_kept():
    _clean()
    exchange.bring()
    assert (_found("/data"), _found(_OLD), _found(_NEW)) == (_AFTER, _BEFORE, None)


def test_the_exchange_is_completed_from_wherever_the_power_failed():
    for before in (_BEFORE, {}, None):
        for first in range(4):
            for second in range(4):
                _clean(before)
                cut = _cut_after(first, exchange.bring)
                assert cut == (first < 2)
                _cut_after(second, exchange.bring)
                exchange.bring()
                exchange.bring()
                assert _found("/data") == _AFTER and _found(_NEW) is None
                assert _found(_OLD) == (before or {})


def test_what_is_taken_back_is_as_before_from_wherever_the_power_failed():
    for before in (_BEFORE, None):
        for forward in range(3):
            for first in range(4):
                for second in range(3):
                    _clean(before)
                    _cut_after(forward, exchange.bring)
                    _cut_after(first, exchange.take_back)
                    _cut_after(second, exchange.take_back)
                    exchange.take_back()
                    exchange.take_back()
                    case = before is None, forward, first, second
                    assert _found("/data") == (before or ({} if forward else None)), case
                    assert _found(_NEW) == _AFTER and _found(_OLD) is None, case


def test_data_that_were_never_exchanged_are_taken_back_too():
    _clean()
    exchange.take_back()
    assert (_found("/data"), _found(_NEW), _found(_OLD)) == (_BEFORE, _AFTER, None)


def test_the_data_before_come_back_though_somebody_has_made_a_folder_in_between():
    _clean()
    _cut_after(1, exchange.bring)
    _make("/data", {"stray": b""})
    exchange.take_back()
    assert _found("/data") == _BEFORE


def test_where_the_record_is_lost_half_way_there_are_data():
    _clean()
    _cut_after(1, exchange.bring)
    assert _found("/data") is None
    exchange.recover()
    assert _found("/data") == _BEFORE
    _clean()
    exchange.bring()
    exchange.recover()
    assert (_found("/data"), _found(_OLD)) == (_AFTER, _BEFORE)


# Where data came from


def test_data_tell_which_image_they_came_from_once_they_are_complete():
    digest = "0123456789abcdef" * 4
    _clean()
    assert not exchange.matches(digest) and not exchange.matches(digest, True)
    exchange.finish(digest.encode())
    assert exchange.matches(digest, True) and exchange.matches(digest[:32], True)
    assert not exchange.matches(digest)
    assert not exchange.matches("f" + digest[1:], True) and not exchange.matches(digest + "0", True)
    exchange.bring()
    assert exchange.matches(digest) and not exchange.matches(digest, True)


# What is removed


def _record(state):
    r = Record()
    r.active = "a"
    r.data = state
    r.store()


def test_what_is_left_is_removed_a_few_files_at_a_time():
    many = {"%d/%d" % (i % 3, i): b"x" for i in range(40)}
    for path in (_NEW, _OLD):
        _clean(after=None)
        _make(path, many)
        _record(0)
        removed = []
        exchange.uos = Os(
            remove=lambda name, removed=removed: removed.append(name) or os.remove(name)
        )
        try:
            steps = 0
            while exchange.sweep():
                steps += 1
                assert len(removed) <= 8
                removed.clear()
        finally:
            exchange.uos = os
        assert steps >= 5 and _found(path) is None and _found("/data") == _BEFORE


def test_what_was_received_is_removed():
    _clean(after=None)
    _record(0)
    with open(_IMAGE, "wb") as f:
        f.write(bytes(9000))
    while exchange.sweep():
        pass
    assert "data" not in os.listdir("/.ota") and "record" in os.listdir("/.ota")


def test_nothing_is_removed_that_the_record_still_needs_or_that_has_none():
    for state in (1, 2, None):
        _clean()
        _make(_OLD, _BEFORE)
        if state is not None:
            _record(state)
        assert not exchange.sweep()
        assert (_found(_NEW), _found(_OLD)) == (_AFTER, _BEFORE)


def test_removing_goes_on_from_wherever_the_power_failed():
    _clean()
    _make(_OLD, _BEFORE)
    with open(_IMAGE, "wb") as f:
        f.write(b"x")
    changes = 0
    while _cut_after(changes, exchange.remove_rest):
        changes += 1
        if changes > 100:
            raise AssertionError("it never ends")
    for count in range(changes):
        _clean()
        _make(_OLD, _BEFORE)
        assert _cut_after(count, exchange.remove_rest)
        exchange.remove_rest()
        assert _found(_NEW) is None and _found(_OLD) is None and _found("/data") == _BEFORE


def test_a_flash_that_does_not_answer_is_no_reason_to_think_that_nothing_is_there():
    _clean()
    exchange.uos = Os(stat=fails)
    try:
        for function in (
            exchange.bring,
            exchange.take_back,
            exchange.recover,
            exchange.sweep,
            exchange.remove_rest,
        ):
            try:
                function()
                raise AssertionError("no OSError")
            except OSError as e:
                assert e.errno == 5
    finally:
        exchange.uos = os
    assert (_found("/data"), _found(_NEW)) == (_BEFORE, _AFTER)
