"""The slots' directories: removed, made room for, read and verified."""

import os

import sample_image
from flash_stubs import Os, fill_up
from ota import slot_contents, slots
from ota.errors import OTAError
from sample_image import FILES, code_of

_BUF = memoryview(bytearray(512))


def _clean():
    slots.remove("/.ota")
    os.mkdir("/.ota")


def _write(name, data):
    parts = name.split("/")
    for i in range(2, len(parts)):
        try:
            os.mkdir("/".join(parts[:i]))
        except OSError:
            pass
    with open(name, "wb") as f:
        f.write(data)


def _fill_slot(slot, files=FILES, text=None):
    slots.remove(slots.path(slot))
    _write(slots.path(slot) + "/MANIFEST", sample_image.manifest(files) if text is None else text)
    for name, data in files:
        _write(slots.path(slot) + "/" + name, data)


def test_the_slot_that_is_not_active_is_idle():
    assert (slots.idle("a"), slots.idle("b"), slots.idle(None)) == ("b", "a", "a")
    assert slots.path("a") == "/.ota/a"


def test_remove_takes_a_file_a_folder_and_what_is_not_there():
    _clean()
    _write("/.ota/x/y/z/deep", b"1")
    _write("/.ota/x/y/file", b"2")
    _write("/.ota/x/.hidden", b"3")
    _write("/.ota/beside", b"4")
    os.mkdir("/.ota/x/hollow")
    slots.remove("/.ota/x")
    assert os.listdir("/.ota") == ["beside"]
    slots.remove("/.ota/beside")
    assert os.listdir("/.ota") == []
    slots.remove("/.ota/beside")
    slots.remove("/nowhere/at/all")


def test_remove_takes_a_folder_of_many_files_and_folders():
    _clean()
    for i in range(50):
        _write("/.ota/many/file%d" % i, b"x")
        if i % 10 == 0:
            _write("/.ota/many/folder%d/file" % i, b"y")
    slots.remove("/.ota/many")
    assert os.listdir("/.ota") == []


def test_room_that_is_there_keeps_the_idle_slot():
    _clean()
    _fill_slot("b")
    slots.make_room("a", 10000)
    assert slot_contents.verify_slot("b", _BUF)


def _with_free_blocks(before, after, function):
    # Calls function with "/" having *before* free blocks, and *after* once something is removed.
    free = [before]
    real = slots.os

    def statvfs(path):
        return (4096, 4096, 763, free[0])

    def rmdir(path):
        os.rmdir(path)
        free[0] = after

    slots.os = Os(statvfs=statvfs, rmdir=rmdir)
    try:
        return code_of(function)
    finally:
        slots.os = real


def test_room_that_is_not_there_costs_the_idle_slot():
    for active, gone, kept in (("a", "b", "a"), ("b", "a", "b"), (None, "a", "b")):
        _clean()
        _fill_slot("a")
        _fill_slot("b")
        assert _with_free_blocks(2, 3, lambda active=active: slots.make_room(active, 12288)) is None
        assert slot_contents.verify_slot(gone, _BUF) is None
        assert slot_contents.verify_slot(kept, _BUF)


def test_too_little_room_is_error_4_and_spares_the_active_slot():
    _clean()
    _fill_slot("a")
    _fill_slot("b")
    assert _with_free_blocks(2, 3, lambda: slots.make_room("a", 12289)) == 4
    assert slot_contents.verify_slot("a", _BUF)


def test_less_than_no_free_blocks_is_no_room():
    # What littlefs says of a file system that is nearly full.
    for free in (4294967286, -10):
        _clean()
        _fill_slot("b")
        assert _with_free_blocks(free, 3, lambda: slots.make_room("a", 12288)) is None
        assert slot_contents.verify_slot("b", _BUF) is None
        assert _with_free_blocks(free, free, lambda: slots.make_room("a", 1)) == 4


def test_a_file_system_that_is_full_has_no_room():
    _clean()
    fillers = fill_up()
    try:
        assert code_of(slots.make_room, "a", 64 * 1024) == 4
    finally:
        for name in fillers:
            os.remove(name)
    assert code_of(slots.make_room, "a", 64 * 1024) is None


def test_read_manifest_gives_the_facts_and_visits_every_file():
    _clean()
    _fill_slot("a")
    seen = []
    m = slot_contents.read_manifest("a", lambda *item: seen.append(item))
    assert (m.name, m.version, m.sequence, m.board, m.files) == (
        "sample",
        "1.2.3",
        7,
        "esp8266",
        len(FILES),
    )
    assert [(size, name) for size, _, name in seen] == [(len(d), n) for n, d in FILES]
    assert slot_contents.read_manifest("a").total_bytes == sum([len(data) for _, data in FILES])


def test_read_manifest_raises_when_there_is_none_or_it_is_broken():
    _clean()
    try:
        slot_contents.read_manifest("a")
        raise AssertionError("no OSError")
    except OSError:
        pass
    good = sample_image.manifest(FILES)
    for text in (b"", b"mpota 2\n", good[:-1], good + b"\n", good + b"x" * 300, b"mpota 1\n"):
        _fill_slot("a", text=text)
        assert code_of(slot_contents.read_manifest, "a") == 38, text


def test_a_whole_slot_verifies():
    _clean()
    _fill_slot("a")
    m = slot_contents.verify_slot("a", _BUF)
    assert m.sequence == 7 and m.files == len(FILES)


def test_a_slot_with_any_file_damaged_does_not_verify():
    _clean()
    for name, data in FILES:
        path = "/.ota/a/" + name
        spoilt = [data + b"x"]
        if data:
            spoilt += [data[:-1], data[:-1] + b"?"]
        for content in spoilt:
            _fill_slot("a")
            assert slot_contents.verify_slot("a", _BUF)
            _write(path, content)
            assert slot_contents.verify_slot("a", _BUF) is None, path
        _fill_slot("a")
        os.remove(path)
        assert slot_contents.verify_slot("a", _BUF) is None, path


def test_a_lack_of_memory_does_not_say_that_a_slot_is_broken():
    def no_memory(name, buf):
        raise MemoryError

    _clean()
    _fill_slot("a")
    real = slot_contents.file_digest
    slot_contents.file_digest = no_memory
    try:
        slot_contents.verify_slot("a", _BUF)
        raise AssertionError("no MemoryError")
    except MemoryError:
        pass
    finally:
        slot_contents.file_digest = real
    assert slot_contents.verify_slot("a", _BUF)


def test_a_slot_without_a_good_manifest_does_not_verify():
    _clean()
    assert slot_contents.verify_slot("a", _BUF) is None
    _fill_slot("a")
    os.remove("/.ota/a/MANIFEST")
    assert slot_contents.verify_slot("a", _BUF) is None
    _fill_slot("a", text=sample_image.manifest(FILES)[:-1])
    assert slot_contents.verify_slot("a", _BUF) is None
    # A name of MANIFEST that is a folder.
    _fill_slot("a", [("lib", b"")], text=sample_image.manifest([("lib", b"")]))
    os.remove("/.ota/a/lib")
    os.mkdir("/.ota/a/lib")
    assert slot_contents.verify_slot("a", _BUF) is None


def test_file_digest_is_that_of_the_file_whatever_the_buffer():
    _clean()
    data = bytes(range(251)) * 20
    _write("/.ota/file", data)
    expected = sample_image.file_line("x", data).split(b" ")[2]
    for size in (1, 7, 512, 5020, 6000):
        buf = memoryview(bytearray(size))
        assert slot_contents.file_digest("/.ota/file", buf) == (len(data), expected)


def test_errors_are_of_the_one_class():
    try:
        slots.make_room("a", 1 << 29)
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert "too few" in str(e)
