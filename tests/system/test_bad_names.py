"""Images whose members have names or kinds that could do harm outside the slot."""

import pytest
from tars import END, file_line, image, manifest, member

pytestmark = pytest.mark.parallel

BAD_NAME, DAMAGED = 39, 37
CONTENT = b"print('owned')\n"

NAMES = [
    "", ".", "..", "/", "//", "/app.py", "/boot.py", "/etc/passwd", "//app.py", "../app.py",
    "../../boot.py", "../../../main.py", "./app.py", "lib/../app.py", "lib/../../a/app.py",
    "lib/..", "lib/.", "lib/./app.py", "a//b", "lib//", "lib/", "app.py/", "a/b/", ".ota/record",
    ".ota/a/app.py", ".ota", "boot.py", "main.py", "ota.json", "boot.py/x", "main.py/x",
    "MANIFEST", "MANIFEST/x", "..\\app.py", "lib\\app.py", "C:\\app.py", "C:app.py", "a b", " ",
    "app.py ", " app.py", "a\tb", "a\nb", "a\rb", "a\x1b[2Jb", "a\x7f", "a\x01", "~", "~/app.py",
    "$HOME", "a;b", "a|b", "a*", "a?", 'a"b', "a'b", "a%2e%2e", "a:b", "a@b", "ä.py", "日本.py",
    "\u202egnp.py", "a\u2044b",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_hostile_name_is_refused(device, name):
    with device.unharmed():
        # Listed under its own name where MANIFEST can hold it, else refused for that already.
        listed = name if name.isprintable() and name.isascii() and name.strip() == name else "x"
        listed = listed.replace(" ", "-") or "x"
        data = _image_with(device, file_line(listed, CONTENT), member(name, CONTENT))
        device.refuses(data, BAD_NAME)


@pytest.mark.parametrize("raw", [b"\xff\xfe.py", b"a\xc3", b"\x80"], ids=ascii)
def test_a_name_that_is_no_text_is_refused(device, raw):
    with device.unharmed():
        listed = file_line("x.py", CONTENT)
        device.refuses(_image_with(device, listed, member(raw, CONTENT)), BAD_NAME)


@pytest.mark.parametrize("prefix", [b"lib", b"..", b"/", b"x" * 40, b"x" * 155], ids=len)
def test_a_name_of_more_than_100_characters_is_refused(device, prefix):
    with device.unharmed():
        name = "n" * 100
        listed = file_line(f"{prefix.decode()[:40]}/{name}", CONTENT)
        data = _image_with(device, listed, member(name, CONTENT, prefix=prefix))
        device.refuses(data, BAD_NAME)


def test_a_name_of_100_characters_is_installed(device):
    name = "lib/" + "n" * 96
    device.update(device.next_image(files={name: CONTENT}))
    assert [n for n in device.files() if n.endswith(name)]


KINDS = {
    "hard link": {"kind": b"1", "link": b"/boot.py"},
    "symbolic link": {"kind": b"2", "link": b"/boot.py"},
    "symbolic link upwards": {"kind": b"2", "link": b"../../boot.py"},
    "character device": {"kind": b"3"},
    "block device": {"kind": b"4"},
    "directory": {"kind": b"5"},
    "fifo": {"kind": b"6"},
    "contiguous file": {"kind": b"7"},
    "pax header": {"kind": b"x"},
    "pax header of the whole tar": {"kind": b"g"},
    "long name of GNU": {"kind": b"L"},
    "long link of GNU": {"kind": b"K"},
    "sparse file of GNU": {"kind": b"S"},
    "continued volume of GNU": {"kind": b"M"},
    "label of GNU": {"kind": b"V"},
    "unknown kind": {"kind": b"Z"},
    "byte that is no text": {"kind": b"\xff"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_regular_files_are_taken(device, kind):
    with device.unharmed():
        content = b"" if kind == "directory" else CONTENT
        listed = file_line("lib.py", content)
        data = _image_with(device, listed, member("lib.py", content, **KINDS[kind]))
        device.refuses(data, DAMAGED)


@pytest.mark.parametrize("kind", [b"L", b"x"], ids=["GNU", "pax"])
def test_a_long_name_before_a_good_file_changes_nothing_about_it(device, kind):
    long_name = b"../../boot.py\0" if kind == b"L" else b"22 path=../../boot.py\n"
    with device.unharmed():
        data = _image_with(
            device,
            file_line("lib.py", CONTENT),
            member("PaxHeaders/lib.py", long_name, kind=kind) + member("lib.py", CONTENT),
        )
        device.refuses(data, DAMAGED)


def test_a_name_that_comes_twice_is_refused(device):
    with device.unharmed():
        twice = file_line("lib.py", CONTENT)
        data = _image_with(device, twice + b"\n" + twice, 2 * member("lib.py", CONTENT))
        device.refuses(data, BAD_NAME)


def test_a_second_manifest_is_refused(device):
    with device.unharmed():
        second = manifest(device.sequence + 1, file_line("app.py"))
        data = _image_with(device, file_line("MANIFEST", second), member("MANIFEST", second))
        device.refuses(data, BAD_NAME)


@pytest.mark.parametrize("names", [["x", "x/y"], ["x/y", "x"], ["x/y/z", "x/y"]], ids="-".join)
def test_an_image_with_a_file_that_is_also_a_directory_is_not_installed(device, names):
    # Only unpacking shows it: the board takes it, drops it at the next boot, and is what it was.
    device.spoiled = True
    start = device.said
    listed = b"\n".join(file_line(name, CONTENT) for name in names)
    device.upload(_image_with(device, listed, b"".join(member(n, CONTENT) for n in names)))
    device.board.wait_for("the image is dropped", start=start)
    device.board.wait_for(f"app {device.sequence} runs", start=start)
    device.takes_an_update()


def _image_with(device, listed, members):
    # The next release as an image, with more lines and members behind its application.
    app = device.app.replace("{version}", "bad").encode()
    text = manifest(device.sequence + 1, file_line("app.py", app), listed)
    data = image(text, member("app.py", app), members)
    assert data.endswith(END)
    return data
