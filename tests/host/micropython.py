"""MicroPython's own reader of ROMFS, on the unix port, to compare the host's reader with."""

import json
import subprocess
import sys
from pathlib import Path

# Lists every file of the images that are given, with the hex of its content.
_LIST = """
import binascii, json, os, sys, vfs

def walk(folder, files):
    for name, kind, _, size in os.ilistdir(folder):
        path = folder + "/" + name
        if kind == 0x4000:
            walk(path, files)
        else:
            with open(path, "rb") as file:
                content = file.read()
            assert len(content) == size
            files[path[5:]] = binascii.hexlify(content).decode()
    return files

for path in sys.argv[1:]:
    with open(path, "rb") as file:
        vfs.mount(vfs.VfsRom(file.read()), "/rom")
    print(json.dumps(walk("/rom", {})))
    vfs.umount("/rom")
"""


def run(*arguments: object) -> str:
    """Run `micropython` and return what it prints."""
    command = [Path(sys.executable).with_name("micropython"), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def listings(romfs: list[bytes], folder: Path) -> list[dict[str, bytes]]:
    """Return the files, name to content, that MicroPython finds in each ROMFS."""
    script = folder / "list.py"
    script.write_text(_LIST)
    paths = []
    for n, data in enumerate(romfs):
        paths.append(folder / f"{n}.romfs")
        paths[-1].write_bytes(data)
    lines = run(script, *paths).splitlines()
    return [{k: bytes.fromhex(v) for k, v in json.loads(line).items()} for line in lines]
