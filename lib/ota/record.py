"""The boot record: one small file that decides what the next boot runs. Format: docs/SPEC.md.

It is replaced as a whole by a rename, which littlefs does or does not do under a power cut, never
half. A record.new found at boot is what a cut left behind; it is not looked at.
"""

import errno
import os
import struct
import sys
from hashlib import sha256

from micropython import const

_FOLDER = const("/.ota")
_PATH = const("/.ota/record")
_NEW = const("/.ota/record.new")

# magic, generation, active, trial, attempts, pending, floor, rejected, sequence, size, SHA-256
_FORMAT = const("<4sIBBBBIIII32s")
_BODY = const(60)
_CHECK = const(8)

_READ_FAILED = const(3)


class Record:
    """What the board knows of its slots; see the state machine in docs/DESIGN.md."""

    def __init__(self):
        self.generation = 0
        self.active = None  # slot that is confirmed, "a" or "b"; None: none yet
        self.trial = None  # slot on trial, or None
        self.attempts = 0  # boots of the trial slot so far
        self.floor = 0  # sequence of the newest release ever confirmed
        self.rejected = 0  # sequence of the release that was taken back last; 0: none
        self.sequence = 0  # sequence of what is pending or on trial
        self.size_bytes = 0  # of the pending image; 0: none is pending
        self.digest = b""  # SHA-256 of the pending image, 32 bytes

    def confirm(self):
        """Make the trial slot the active one. The floor never falls, not by a downgrade either.

        What was taken back is forgotten by a release that is newer. Without a trial nothing is
        done: a store that failed may have been done all the same.
        """
        if self.trial is None:
            return
        self.active = self.trial
        self.floor = max(self.floor, self.sequence)
        if self.sequence > self.rejected:
            self.rejected = 0
        self._end_trial()

    def reject(self):
        """Take the trial back, if any: the active slot runs, and this release is remembered."""
        if self.trial is None:
            return
        self.rejected = self.sequence
        self._end_trial()

    def drop_pending(self):
        """Forget the pending image."""
        self.size_bytes = self.sequence = 0
        self.digest = b""
        self.store()

    def _end_trial(self):
        self.trial = None
        self.attempts = self.sequence = 0
        self.store()

    def _pack(self):
        body = struct.pack(
            _FORMAT,
            b"MPBR",
            self.generation,
            ord(self.active or "-"),
            ord(self.trial or "-"),
            self.attempts,
            0,
            self.floor,
            self.rejected,
            self.sequence,
            self.size_bytes,
            self.digest,
        )
        return body + sha256(body).digest()[:_CHECK]

    def store(self):
        """Replace the record on flash, after reading back what was written.

        Raises OSError when the flash does not take it; the old record then still stands.
        """
        self.generation += 1
        data = self._pack()
        try:
            os.mkdir(_FOLDER)
        except OSError:
            pass  # it is there
        with open(_NEW, "wb") as f:
            f.write(data)
        if _read(_NEW) != data:
            raise OSError("record: read back differs")
        os.rename(_NEW, _PATH)


def _read(path):
    with open(path, "rb") as f:
        return f.read(_BODY + _CHECK + 1)


def _slot(letter):
    return chr(letter) if letter in b"ab" else None


def load():
    """Return the Record on flash, or None when there is none, or none that is whole.

    Raises OSError when the flash does not answer: that says nothing about the record.
    """
    try:
        data = _read(_PATH)
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise
        return None
    if len(data) != _BODY + _CHECK or sha256(data[:_BODY]).digest()[:_CHECK] != data[_BODY:]:
        return None
    fields = struct.unpack(_FORMAT, data)
    if fields[0] != b"MPBR":
        return None
    record = Record()
    record.generation = fields[1]
    record.active = _slot(fields[2])
    record.trial = _slot(fields[3])
    record.attempts = fields[4]
    record.floor, record.rejected, record.sequence, record.size_bytes = fields[6:10]
    record.digest = fields[10]
    return record


def load_for_update():
    """Return the Record on flash, or a new one on a board that has no application yet.

    Raises OTAError 3 where an application runs and there is no record that is whole: it is not
    known then which slot must be left alone. The next boot mends it.
    """
    record = load()
    if record is None:
        for folder in sys.path:
            if folder[: len(_FOLDER)] == _FOLDER:
                from .errors import OTAError

                raise OTAError(_READ_FAILED, "boot record; restart the board")
        record = Record()
    return record
