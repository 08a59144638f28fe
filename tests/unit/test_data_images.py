"""Data images through the Updater: what is unpacked, what is refused, what is kept."""

import os
from binascii import hexlify

import ota
from flash_stubs import Os, fails
from ota import Callbacks, data, exchange, record, updater
from ota.data import copy, littlefs
from ota.md5 import md5
from ota.record import Record, load
from ota.updater import Updater, signature
from sample_image import clear_slot, code_of, error_of, fill_slot, image, marks_of, runs
from sample_tar import entry, header, tar, tar_of
from uhashlib import sha256

_NEW = "/.ota/data/new"
_FS = 100
_TIED = 101

_FILES = {
    b"index.html": b"<p>" * 300,
    b"fonts/a.bin": bytes(range(256)) * 50,
    b"fonts/deep/er/b": b"b",
    b"empty": b"",
}
_TAR = tar(header(b"logs/", kind=b"5"), *[entry(name, content) for name, content in _FILES.items()])
_LITTLEFS = [
    "/vectors/littlefs/%s-%d-%s" % (version, block_bytes, tool)
    for version in ("2.0", "2.1")
    for block_bytes in (4096, 8192)
    for tool in ("python", "mklittlefs")
]


class Ota(ota.OTA):
    """An `ota.OTA` that has not begun, with the test's settings."""

    def __init__(self, **settings):
        self.settings = settings


def _remove(path):
    try:
        os.remove(path)
    except OSError:
        pass


def _clean(before=None, more=b"", **fields):
    # A board that runs slot a, whose MANIFEST has the lines *more*, with the files *before* in
    # /data; returns an Updater.
    _remove(signature.KEYS)
    exchange.remove("/data")
    exchange.remove_rest()
    clear_slot("b")
    fill_slot("a", image(7, more=more))
    runs("a")
    for name in before or {}:
        parts = ("data/" + name).split("/")
        for i in range(1, len(parts)):
            if not exchange.is_there("/" + "/".join(parts[:i])):
                os.mkdir("/" + "/".join(parts[:i]))
        with open("/data/" + name, "wb") as f:
            f.write(before[name])
    r = Record()
    r.active = "a"
    r.received = {"a": (7, 100, b""), "b": (0, 0, b"")}
    for name in fields:
        setattr(r, name, fields[name])
    r.store()
    return Updater(Ota(), Callbacks())


def _send(u, content=_TAR, command=_FS, size=None, chunk=1460, **end):
    u.begin(len(content) if size is None else size, command)
    for at in range(0, len(content), chunk):
        u.write(content[at : at + chunk])
    u.end(**end)


def _content(path):
    with open(path, "rb") as f:
        return f.read()


def _found(path, prefix=""):
    # The files below *path*, without what tells where they came from, and the folders.
    files = {}
    for entry_ in os.ilistdir(path):
        name = prefix + entry_[0]
        if entry_[1] == 0x4000:
            files[name.encode() + b"/"] = None
            files.update(_found(path + "/" + entry_[0], name + "/"))
        elif name != ".mpota":
            files[name.encode()] = _content(path + "/" + entry_[0])
    return files


def _expected(files=_FILES, *folders):
    expected = dict(files)
    for folder in folders:
        expected[folder + b"/"] = None
    return expected


_FOLDERS = (b"fonts", b"fonts/deep", b"fonts/deep/er", b"logs")


def _is_as_before():
    # Whether nothing of an image counts.
    r = load()
    assert (r.active, r.trial, r.data) == ("a", None, 0)
    assert marks_of("a") == b"ACPT" + b"\xff" * 4
    return True


# What becomes of it


def test_a_tar_becomes_a_folder_that_waits_for_its_trial():
    u = _clean({"old": b"1"})
    _send(u)
    assert _found(_NEW) == _expected(_FILES, *_FOLDERS)
    assert _found("/data") == {b"old": b"1"}
    r = load()
    assert (r.active, r.trial, r.data, r.attempts) == ("a", "a", 1, 0)
    assert exchange.matches(hexlify(sha256(_TAR).digest()).decode(), True)
    assert not exchange.is_there("/.ota/data/image") and not u.is_running and u.error == 0


def test_a_littlefs_of_every_kind_becomes_the_same():
    for path in _LITTLEFS:
        u = _clean()
        content = _content(path)
        _send(u, content)
        assert _found(_NEW) == _expected(_FILES, *_FOLDERS), path
        assert load().data == 1
        assert exchange.matches(hexlify(sha256(content).digest()).decode(), True)


def test_it_is_unpacked_in_steps():
    u = _clean()
    u.begin(len(_TAR), _FS)
    u.write(_TAR)
    steps = 0
    for _ in u.ending():
        steps += 1
    assert steps > len(_TAR) // 1024


def test_data_for_an_application_that_is_to_come_are_not_tried():
    u = _clean()
    _send(u, command=_TIED)
    assert _found(_NEW) == _expected(_FILES, *_FOLDERS)
    assert _is_as_before() and u.ota.has_staged_data
    # Nor are they where there is no application yet.
    u = _clean(active=None)
    _send(u, command=_TIED)
    assert load().trial is None and u.ota.has_staged_data


def test_data_in_place_of_others_leave_nothing_of_those():
    u = _clean()
    _send(u, tar_of({b"a": b"1", b"b/c": b"2"}), _TIED)
    _send(u, tar_of({b"d": b"3"}), _TIED)
    assert _found(_NEW) == {b"d": b"3"}


def test_data_that_wait_for_their_trial_are_replaced():
    u = _clean({"old": b"1"})
    _send(u, tar_of({b"a": b"1"}))
    _send(u, tar_of({b"d": b"3"}))
    assert _found(_NEW) == {b"d": b"3"} and _found("/data") == {b"old": b"1"}
    assert (load().trial, load().data) == ("a", 1)


def test_an_empty_image_makes_an_empty_folder():
    u = _clean()
    _send(u, tar(header(b"./", kind=b"5")))
    assert _found(_NEW) == {} and load().data == 1


# With an application


def _named(content=_TAR, digits=32):
    return b"data " + hexlify(sha256(content).digest())[:digits] + b"\n"


def test_an_application_that_names_data_is_tried_together_with_them():
    for digits in (8, 32):
        u = _clean({"old": b"1"})
        _send(u, command=_TIED)
        _send(u, image(8, more=_named(digits=digits)), 0)
        r = load()
        assert (r.active, r.trial, r.data) == ("a", "b", 1)


def test_an_application_that_names_the_data_that_are_there_is_tried_alone():
    u = _clean()
    _send(u)
    exchange.bring()
    u = _clean_record()
    _send(u, image(8, more=_named()), 0)
    assert (load().trial, load().data) == ("b", 0)


def _clean_record():
    exchange.remove_rest()
    r = load()
    r.trial, r.data = None, 0
    r.store()
    return Updater(Ota(), Callbacks())


def test_an_application_that_names_other_data_is_refused_before_its_slot_is_erased():
    for staged in (None, tar_of({b"a": b"1"})):
        u = _clean({"old": b"1"})
        fill_slot("b", image(6))
        if staged:
            _send(u, staged, _TIED)
        error = error_of(_send, u, image(8, more=_named()), 0)
        assert error.startswith("ERROR[48]") and "not there: send both" in error
        assert marks_of("b") == b"ACPT" + b"\xff" * 4 and load().trial is None


def test_an_application_that_names_no_data_leaves_them_as_they_are():
    u = _clean({"old": b"1"})
    _send(u, command=_TIED)
    _send(u, image(8), 0)
    assert (load().trial, load().data) == ("b", 0)


def test_data_that_wait_are_still_there_for_an_application_that_names_them():
    u = _clean({"old": b"1"})
    _send(u)
    _send(u, image(8, more=_named()), 0)
    assert (load().trial, load().data) == ("b", 1)
    assert _found("/data") == {b"old": b"1"} and b"index.html" in _found(_NEW)
    # For another one they are not.
    u = _clean({"old": b"1"})
    _send(u)
    _send(u, image(8), 0)
    assert (load().trial, load().data) == ("b", 0)


def test_data_alone_do_not_take_the_place_of_those_that_the_application_names():
    u = _clean(more=_named())
    error = error_of(_send, u, tar_of({b"a": b"1"}))
    assert error.startswith("ERROR[48]") and "names others: send both" in error and _is_as_before()
    _send(u)  # the very same ones do
    assert load().data == 1
    u = _clean(more=_named())
    _send(u, tar_of({b"a": b"1"}), _TIED)
    assert u.ota.has_staged_data


# What is kept

_BEFORE = {"settings.json": b"mine" * 500, "cal/1.txt": b"1", "cal/x/2.txt": b"2", "other": b"3"}


def test_files_that_the_application_wants_to_keep_are_kept():
    for keep, kept in (
        (b"settings.json", ["settings.json"]),
        (b"cal/*", ["cal/1.txt", "cal/x/2.txt"]),
        (b"*.txt settings.json", ["settings.json", "cal/1.txt", "cal/x/2.txt"]),
        (b"*", list(_BEFORE)),
        (b"cal/*2.txt", ["cal/x/2.txt"]),
        (b"cal", []),
        (b"settings.jso", []),
        (b"settings.json*.json", []),
        (b"", []),
    ):
        u = _clean(_BEFORE, more=b"keep " + keep + b"\n")
        content = tar_of({b"settings.json": b"theirs", b"new": b"1"})
        _send(u, content)
        expected = {b"settings.json": b"theirs", b"new": b"1"}
        for name in kept:
            expected[name.encode()] = _BEFORE[name]
        found = _found(_NEW)
        assert {name: found[name] for name in found if found[name] is not None} == expected, keep
        assert exchange.matches(hexlify(sha256(content).digest()).decode(), True), keep
        assert _found("/data")[b"settings.json"] == _BEFORE["settings.json"]


def test_with_an_application_that_is_what_the_new_one_wants_to_keep():
    u = _clean(_BEFORE, more=b"keep other\n")
    content = tar_of({b"new": b"1"})
    _send(u, content, _TIED)
    _send(u, image(8, more=_named(content) + b"keep settings.json\n"), 0)
    assert _found(_NEW) == {b"new": b"1", b"settings.json": _BEFORE["settings.json"]}


def test_what_tells_where_data_came_from_is_not_kept_with_the_rest():
    content = tar_of({b"new": b"1"})
    digest = hexlify(sha256(content).digest()).decode()
    for name in (".mpota", ".mpota/x"):  # a folder is the application's doing
        before = dict(_BEFORE)
        before[name] = b"0" * 64
        u = _clean(before, more=b"keep *\n")
        _send(u, content)
        assert exchange.matches(digest, True) and b"other" in _found(_NEW)
        u = _clean(before)
        _send(u, content, _TIED)
        _send(u, image(8, more=_named(content) + b"keep *\n"), 0)
        assert exchange.matches(digest, True) and b"other" in _found(_NEW)


def test_without_data_before_there_is_nothing_to_keep():
    u = _clean(more=b"keep *\n")
    _send(u)
    assert load().data == 1


# What is refused


def test_what_is_no_data_image_is_refused_with_its_first_bytes_and_told_what_it_seems_to_be():
    for content, words in (
        (
            _content("/vectors/spiffs"),
            "SPIFFS; send a tar or a littlefs, as 'mpota mkdata' makes them",
        ),
        (_content("/vectors/fat")[:9000], "FAT; send a tar"),
        (b"PK\x03\x04" + bytes(2000), "a zip; send a tar"),
        (b"\xe9" + bytes(2000), "Not a data image: send a tar"),
        (image(), "an application; send a tar"),
        (b"<html>" * 300, "Not a data image: send a tar"),
        (bytes(2000), "Not a data image: send a tar"),
        (b"\xff" * 2000, "Not a data image: send a tar"),
        (b"x", "Not a data image: send a tar"),
    ):
        u = _clean({"old": b"1"})
        error = error_of(_send, u, content)
        assert error and error.startswith("ERROR[46]") and words in error, (words, error)
        assert not exchange.is_there("/.ota/data/image") and _is_as_before()


def test_data_are_no_application():
    for content, words in ((_TAR, "a tar; data"), (_content(_LITTLEFS[0]), "a littlefs; data")):
        error = error_of(_send, _clean(), content[:50000], 0)
        assert error.startswith("ERROR[10]") and words in error, error


def test_policy_is_asked_before_anything_is_written():
    u = _clean({"old": b"1"})
    for size, command, code in ((0, _FS, 5), (100, 99, 16), (100, 102, 16), (2**26, _FS, 4)):
        assert code_of(u.begin, size, command) == code
    u.ota.trial = True
    assert code_of(u.begin, 100, _FS) == 34
    u.ota.trial = False
    u.ota.gate = lambda: False
    assert code_of(u.begin, 100, _FS) == 33
    u.ota.gate = None
    u.ota.start_callback = fails
    assert code_of(u.begin, 100, _FS) == 32
    u = _clean(active=None)
    assert "send one" in error_of(u.begin, 100, _FS)
    assert code_of(u.begin, 100, _TIED) is None
    u.abort(6)


class Room(Os):
    """An `os` whose file system has a given number of free blocks."""

    def __init__(self, blocks):
        super().__init__(statvfs=lambda path: (4096, 4096, 700, blocks, blocks, 0, 0, 0, 0, 255))


def test_what_finds_no_room_is_refused_as_early_as_that_shows():
    try:
        # Room for the image: before it begins. For what comes out of a tar: with its first bytes.
        for blocks, size, when in ((18, 50000, "begin"), (28, 50000, "write"), (40, 50000, None)):
            u = _clean()
            data.uos = Room(blocks)
            error = error_of(u.begin, size, _FS)
            assert (error is not None) == (when == "begin"), error
            if error is None:
                error = error_of(u.write, _TAR[:2000])
                assert (error is not None) == (when == "write"), error
            if when:
                assert error.startswith("ERROR[4]") and "the file system has room for" in error
                assert not exchange.is_there("/.ota/data/image")
            u.abort(6)
        # For many small files, which take more than the tar: before the first is unpacked.
        many = tar_of({b"%d" % i: b"x" * 200 for i in range(40)})
        u = _clean()
        data.uos = Room(8 + 2 * len(many) // 4080 + 2)
        error = error_of(_send, u, many)
        assert error.startswith("ERROR[4]") and "the file system has room for" in error, error
        assert not exchange.is_there(_NEW) and _is_as_before()
    finally:
        data.uos = os


def test_a_file_system_that_is_full_ends_the_update():
    def is_full(*args):
        raise OSError(28)

    class File:
        def write(self, _):
            is_full()

        def close(self):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    for module in (data, copy):
        u = _clean()
        module.open = lambda path, mode: File() if "w" in mode else open(path, mode)
        try:
            error = error_of(_send, u)
            assert error == "ERROR[4]: Not Enough Space: 28", error
        finally:
            del module.open
        assert _is_as_before()


def test_bytes_that_are_missing_or_too_many_or_changed_are_refused():
    digest = sha256(_TAR).digest()
    for change, code in (
        (lambda u: _send(u, _TAR[:-1], size=len(_TAR)), 37),
        (lambda u: _send(u, _TAR + b"x", size=len(_TAR)), 4),
        (lambda u: _send(u, _TAR[:-1024]), 47),
        (lambda u: _send(u, _TAR[:1030]), 47),
        (lambda u: _send(u, _TAR + _TAR), 47),
        (lambda u: (u.set_md5("0" * 32), _send(u)), 7),
        (lambda u: (u.set_sha256("0" * 64), _send(u)), 42),
        (lambda u: _send(u, _content(_LITTLEFS[0])[:-4096]), 37),
        (lambda u: _send(u, _content(_LITTLEFS[0]) + bytes(4096)), 37),
        (lambda u: _send(u, _content(_LITTLEFS[0]) + b"x"), 37),
    ):
        u = _clean()
        found = code_of(change, u)
        assert found == code, (found, code)
        assert _is_as_before()
        assert not u.ota.healthy  # so that what is left is removed
        while exchange.sweep():
            pass
        assert not [name for name in os.listdir("/.ota") if name.startswith("data")]
    u = _clean()
    found = md5()
    found.update(_TAR)
    u.set_md5(hexlify(found.digest()).decode())
    _send(u)
    assert load().data == 1
    u = _clean()
    u.set_sha256(hexlify(digest).decode())
    _send(u)
    assert load().data == 1


def test_a_file_that_reads_back_otherwise_than_it_was_received_is_refused():
    u = _clean()
    u.set_sha256(hexlify(sha256(_TAR).digest()).decode())
    u.begin(len(_TAR), _FS)
    u.write(_TAR)
    u.write(b"")

    def spoiled(path, mode):
        if mode == "rb":
            with open(path, "r+b") as f:
                f.seek(600)
                f.write(b"?")
        return open(path, mode)

    data.open = spoiled
    try:
        assert code_of(u.end) == 42 and _is_as_before()
    finally:
        del data.open


def test_tars_that_are_bad_leave_nothing_that_counts():
    good = entry(b"a", b"1" * 700)
    for content in (
        tar(good, entry(b"../x", b"1")),
        tar(good, entry(b"a", b"1")),
        tar(good, entry(b"a/b", b"1")),
        tar(good, entry(b"b", b"", kind=b"2")),
        tar(good, header(b"a", kind=b"5"), entry(b"a/c", b"")),
        tar(entry(b".mpota/x", b"1")),
        tar(good, entry(b".mpota", b"1")),
        tar(good, entry(b"./.mpota", b"1")),
        tar(good, header(b".mpota/", kind=b"5")),
        good + bytes(512),
    ):
        u = _clean({"old": b"1"})
        error = error_of(_send, u, content)
        assert error.startswith("ERROR[47]"), error
        assert _is_as_before() and _found("/data") == {b"old": b"1"}
        assert not exchange.matches("", True) or not exchange.is_there(_NEW + "/.mpota")


def test_more_than_1000_files_and_folders_are_refused():
    data.uos = Room(2000)
    try:
        text = error_of(_send, _clean(), tar(*[header(b"%d" % i) for i in range(1001)]))
    finally:
        data.uos = os
    assert text == "ERROR[47]: Bad data image: more than 1000 files and folders", text
    assert _is_as_before() and not exchange.is_there(_NEW)


def test_littlefs_images_that_are_damaged_or_of_another_kind_are_refused():
    good = _content(_LITTLEFS[0])
    for at, value in (
        (20, b"\0\0\3\0"),  # the version
        (20, b"\2\0\2\0"),
        (24, b"\0\0\0\0"),  # the size of a block
        (24, b"\1\x10\0\0"),
        (24, b"\0\0\0\x10"),
        (28, b"\0\0\0\0"),  # how many there are
        (28, b"\x11\0\0\0"),
        (28, b"\xff\xff\xff\xff"),
    ):
        u = _clean()
        content = good[:at] + value + good[at + 4 :]
        content = content[:4096] + content[:4096] + content[8192:]
        assert code_of(_send, u, content) in (37, 47), (at, value)
        assert _is_as_before()


def test_the_last_file_of_a_littlefs_is_closed_whether_all_was_unpacked_or_not():
    opened = []
    real = littlefs.LittleFS

    class Watched(real):
        def open(self, name, at):
            opened.append(super().open(name, at))
            return opened[-1]

    def spoiled(path, mode):
        if fails_at and mode == "wb" and len(opened) == fails_at:
            raise OSError(28)
        return open(path, mode)

    littlefs.LittleFS = Watched
    copy.open = spoiled
    try:
        for fails_at in (0, 2):
            opened.clear()
            u = _clean()
            assert code_of(_send, u, _content(_LITTLEFS[0])) == (4 if fails_at else None)
            assert len(opened) == (fails_at or len(_FILES))
            for file in opened:
                try:
                    file.read(1)
                    raise AssertionError("a file is open")
                except ValueError:
                    pass  # it is closed
    finally:
        littlefs.LittleFS = real
        del copy.open


# Signed


def test_a_board_with_keys_takes_only_what_is_signed():
    signed = _content("/vectors/signed-littlefs")
    plain = _content("/vectors/littlefs/2.1-4096-python")
    keys = _content("/vectors/keys-2048")
    other = b"MPKY\x80\x00\x80" + bytes(126) + b"\x01"
    for content, key, code in (
        (signed, keys, None),
        (plain, keys, 12),
        (signed[:-1], keys, 12),
        (signed, other, 12),
        (plain[:-1] + b"?" + signed[len(plain) :], keys, 12),
        (_TAR, keys, 12),
        (_TAR + signed[len(plain) :], keys, 12),
        (signed, None, None),
    ):
        u = _clean()
        u.keys = key
        assert code_of(_send, u, content) == code
        assert (load().data == 1) == (code is None)
        if code is None:  # it is the same data, signed or not
            assert exchange.matches(hexlify(sha256(plain).digest()).decode(), True)


# The heap and the flash


def test_power_that_fails_at_any_moment_leaves_the_data_as_they_were_or_on_trial():
    changes = 0

    class Cut(Exception):
        pass

    left = [0]

    def of(name):
        def change(*args):
            if not left[0]:
                raise Cut
            left[0] -= 1
            return getattr(os, name)(*args)

        return change

    stub = Os(**{name: of(name) for name in ("rename", "mkdir", "remove", "rmdir")})
    modules = (data, copy, exchange, record, updater)
    while True:
        u = _clean({"old": b"1"})
        left[0] = changes
        for module in modules:
            module.uos = stub
        try:
            u.begin(len(_TAR), _FS)
            u.write(_TAR)
            for _ in u.ending():
                pass
            break
        except Exception as e:
            assert "Cut" in repr(e) or "Cut" in str(e) or e.code, e
        finally:
            for module in modules:
                module.uos = os
        assert _is_as_before() and _found("/data") == {b"old": b"1"}
        changes += 1
    assert changes > 6
    assert _found(_NEW) == _expected(_FILES, *_FOLDERS) and load().data == 1


# A gzip


def test_a_gzip_of_data_is_unpacked_on_the_way():
    plain = _content("/vectors/data.tar")
    for path in ("data.tar.gz", "data.tar.signed.gz", "data.tar.gz.signed"):
        content = _content("/vectors/" + path)
        for digest in (None, "md5", "sha256"):
            u = _clean()
            if digest == "md5":
                state = md5()
                state.update(content)
                u.set_md5(hexlify(state.digest()).decode())
            elif digest:
                u.set_sha256(hexlify(sha256(content).digest()).decode())
            _send(u, content)
            assert len(_found(_NEW)[b"words"]) == 24000 and load().data == 1, path
            # It is the same image, however it was sent.
            assert exchange.matches(hexlify(sha256(plain).digest()).decode(), True)
    u = _clean()
    _send(u, _content("/vectors/littlefs.gz"))
    assert _found(_NEW) == _expected(_FILES, *_FOLDERS)


def test_a_gzip_of_data_is_signed_or_it_is_refused():
    keys = _content("/vectors/keys-2048")
    for path, code in (
        ("data.tar.gz", 12),
        ("data.tar.signed.gz", None),
        ("data.tar.gz.signed", None),
        ("littlefs.gz", 12),
    ):
        u = _clean()
        u.keys = keys
        assert code_of(_send, u, _content("/vectors/" + path)) == code, path
        assert (load().data == 1) == (code is None)


def test_a_gzip_of_data_that_is_changed_is_refused():
    content = _content("/vectors/data.tar.gz")
    for change, codes in (
        (lambda c: c[:-1], (37,)),
        (lambda c: c + b"x", (37,)),
        (lambda c: c[:5000] + b"?" + c[5001:], (37, 46, 47)),
        (lambda c: c[:-8] + b"????" + c[-4:], (37,)),
    ):
        assert code_of(_send, _clean(), change(content)) in codes
        assert _is_as_before()


def test_the_digest_of_what_data_came_from_is_told_in_hex_or_not_at_all():
    _clean({"old": b"1"})
    assert exchange.digest() == ""
    text = hexlify(sha256(_TAR).digest())
    for content, told in ((text, text[:32].decode()), (b"\n" + text, ""), (b"\xff" * 40, "")):
        with open("/data/.mpota", "wb") as f:
            f.write(content)
        assert exchange.digest() == told, content
