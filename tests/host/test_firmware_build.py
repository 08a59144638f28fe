"""firmware/: what MicroPython's own build takes, and the _boot.py that it freezes."""

import subprocess
import sys
from pathlib import Path

import pytest
from mpota.image import littlefs

ROOT = Path(__file__).parents[2]
BOARD = ROOT / "firmware" / "MPOTA_ESP8266"
SECTORS = 64

# Runs _boot.py on a block device in RAM; `fails` reads fail before the first is good.
PROGRAM = """
import sys, time, vfs
content = bytearray(open({flash!r}, "rb").read())
class Bdev:
    SEC_SIZE = 4096
    fails = {fails}
    def readblocks(self, n, buf, off=0):
        if self.fails:
            self.fails -= 1
            raise OSError(5)
        at = n * 4096 + off
        buf[:] = content[at : at + len(buf)]
    def writeblocks(self, n, buf, off=None):
        at = n * 4096 + (off or 0)
        content[at : at + len(buf)] = buf
    def ioctl(self, op, arg):
        return {{4: len(content) // 4096, 5: 4096}}.get(op, 0)
class Stub:
    pass
flashbdev, machine, micropython = Stub(), Stub(), Stub()
flashbdev.bdev = Bdev()
def reset():
    print("reset")
    raise SystemExit
machine.reset = reset
micropython.kbd_intr = lambda c: None
quick = Stub()
quick.sleep_ms = lambda ms: print("waits", ms)
quick.sleep = lambda s: print("waits", s)
sys.modules["flashbdev"] = flashbdev
sys.modules["machine"] = machine
sys.modules["micropython"] = micropython
sys.modules["time"] = quick
import gc
before = bytes(content)
code = open({boot!r}).read()
vfs.umount("/")
try:
    exec(code, {{}})
except SystemExit:
    pass
print("same" if bytes(content) == before else "changed")
import os
try:
    print(sorted(os.listdir("/")))
except OSError:
    print("no file system")
"""


@pytest.fixture
def boot(tmp_path):
    def boot(content, fails=0):
        """Run _boot.py on a flash with *content* and return the lines it says."""
        program = tmp_path / "program.py"
        (tmp_path / "flash.bin").write_bytes(content)
        program.write_text(
            PROGRAM.format(
                flash=str(tmp_path / "flash.bin"), fails=fails, boot=str(BOARD / "_boot.py")
            )
        )
        done = subprocess.run(
            [sys.executable, "-m", "micropython_unix", "-X", "heapsize=16m", str(program)],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout.splitlines()

    return boot


GOOD = littlefs.build({"/notes.txt": b"mine"}, SECTORS * 4096)


def test_a_good_file_system_is_mounted_at_once(boot):
    assert boot(GOOD) == ["waits 0", "same", "['notes.txt']"]


def test_a_read_that_fails_for_a_passing_reason_costs_no_file_system(boot):
    said = boot(GOOD, fails=2)
    assert said[-2:] == ["same", "['notes.txt']"]
    assert "boot: the file system is not mounted: [Errno 5] EIO" in said


def test_a_blank_flash_gets_a_file_system(boot):
    said = boot(b"\xff" * SECTORS * 4096)
    assert said[-3:] == ["boot: a new file system", "changed", "[]"]


@pytest.mark.parametrize(
    "content",
    [
        bytes(SECTORS * 4096),
        b"\xff" * 4096 + b"data" * 1024 + b"\xff" * (SECTORS - 2) * 4096,
        b"\xff" * 8 + b"littlefs" + GOOD[16:64] + b"\xff" * (SECTORS * 4096 - 64),
    ],
    ids=["zeros", "the first sector blank", "a torn superblock"],
)
def test_a_flash_that_has_something_on_it_is_never_formatted(boot, content):
    said = boot(content)
    assert said[-4:-1] == ["waits 60", "reset", "same"]
    assert "boot: a new file system" not in said


def test_a_superblock_that_is_blank_since_the_power_failed_does_not_matter(boot):
    content = b"\xff" * 4096 + GOOD[4096:]
    assert boot(content)[-1] == "['notes.txt']"


def test_the_manifest_freezes_the_package_and_this_boot_alone():
    frozen: list[object] = []
    functions = {
        "module": lambda name, **_: frozen.append(name),
        "freeze": lambda path, names: frozen.extend(names),
        "require": lambda name: None,
        "package": lambda name, base_path: frozen.append((name, base_path)),
        "metadata": lambda **_: None,
    }
    included: list[str] = []

    def include(path: str) -> None:
        included.append(path)
        if "$(" not in path:
            exec((BOARD / path).read_text(), functions)

    exec((BOARD / "manifest.py").read_text(), functions | {"include": include})
    assert frozen.count("_boot.py") == 1
    assert ("ota", "lib") in frozen
    assert "flashbdev.py" in frozen
