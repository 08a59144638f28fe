"""Which version must run, decided on the host from the flash alone, by the description of the
formats and not by the device's code; and what must hold whenever the power goes.
"""

import hashlib
import io
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path

from mpota.sim import read_flash

# magic, generation, active, trial, attempts, zero, floor, rejected, sequence, size, SHA-256
_RECORD = struct.Struct("<4sI4B4I32s")
_CHECK_BYTES = 8
_ATTEMPTS = 3

Files = dict[str, bytes]  # name → content


class BrokenError(AssertionError):
    """The flash is in a state that a power cut must not lead to."""


@dataclass(frozen=True)
class Release:
    """What a slot or an image holds, whole."""

    version: str
    sequence: int


@dataclass(frozen=True)
class Verdict:
    """What the next boot must do: `runs` is the version; `state` idle, pending or trial."""

    state: str
    runs: str
    active: Release
    rejected: int
    others: Files  # every file outside /.ota


def judge(flash: Path) -> Verdict:
    """Return what the board with the flash image *flash* must do next. Raises BrokenError."""
    files = read_flash(flash)
    active, trial, attempts, floor, rejected, sequence, size_bytes, digest = _record(files)
    others = {name: data for name, data in files.items() if not name.startswith("/.ota/")}
    running = _release(_below(files, f"/.ota/{active}/"), f"slot {active}, which is active")
    if running.sequence != floor:
        raise BrokenError(f"slot {active} has sequence {running.sequence}, the floor is {floor}")
    state, runs = "idle", running
    if size_bytes:
        state, runs = "pending", _staged(files, size_bytes, digest)
        if trial != "-":
            raise BrokenError("an image is pending while another is on trial")
    elif trial != "-":
        if trial == active:
            raise BrokenError(f"the active slot, {active}, is on trial")
        on_trial = _release(_below(files, f"/.ota/{trial}/"), f"slot {trial}, which is on trial")
        state, runs = "trial", on_trial if attempts < _ATTEMPTS else running
        if on_trial.sequence != sequence:
            raise BrokenError(
                f"slot {trial} has sequence {on_trial.sequence}, the record {sequence}"
            )
    if state == "pending" and runs.sequence != sequence:
        raise BrokenError(f"the image has sequence {runs.sequence}, the record {sequence}")
    return Verdict(state, runs.version, running, rejected, others)


def _record(files: Files) -> tuple:
    # Without its magic, generation and zero.
    data = files.get("/.ota/record")
    if data is None:
        raise BrokenError("there is no record")
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(body) != _RECORD.size or hashlib.sha256(body).digest()[:_CHECK_BYTES] != check:
        raise BrokenError(f"the record cannot be read: {data.hex()}")
    magic, _, active, trial, attempts, zero, *rest = _RECORD.unpack(body)
    active, trial = chr(active), chr(trial)
    if magic != b"MPBR" or active not in "ab" or trial not in "ab-" or zero or attempts > _ATTEMPTS:
        raise BrokenError(f"the record makes no sense: {data.hex()}")
    return active, trial, attempts, *rest


def _below(files: Files, folder: str) -> Files:
    return {n.removeprefix(folder): data for n, data in files.items() if n.startswith(folder)}


def _staged(files: Files, size_bytes: int, digest: bytes) -> Release:
    data = files.get("/.ota/staging", b"")
    if len(data) != size_bytes or hashlib.sha256(data).digest() != digest:
        raise BrokenError(f"the staging file, {len(data)} bytes, is not the image of the record")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return _release(
            {m.name: tar.extractfile(m).read() for m in tar.getmembers()}, "the staging file"
        )


def _release(files: Files, where: str) -> Release:
    # Raises BrokenError unless *files* are those of their MANIFEST: all of them, no others.
    manifest = files.get("MANIFEST")
    if manifest is None:
        raise BrokenError(f"{where}: no MANIFEST among {sorted(files)}")
    facts, listed = {}, {}
    for line in manifest.decode().splitlines():
        key, *words = line.split(" ")
        if key == "file":
            listed[words[2]] = (int(words[0]), words[1])
        else:
            facts[key] = words[0]
    found = {
        name: (len(data), hashlib.sha256(data).hexdigest())
        for name, data in files.items()
        if name != "MANIFEST"
    }
    if found != listed:
        wrong = sorted(n for n in found | listed if found.get(n) != listed.get(n))
        raise BrokenError(f"{where}: not as in its MANIFEST: {', '.join(wrong)}")
    return Release(facts["version"], int(facts["sequence"]))
