"""The boot record: one small file that decides what the next boot runs. Format: docs/SPEC.md.

It is replaced as a whole by a rename; if the power fails, littlefs has either done that or not. A
file record.new at boot was left by a power cut, and is ignored. A file of up to 128 bytes lies in
littlefs's own data and needs no sector of its own, so it is written without an erase, even on a
full file system. RAM: about 1.2 KB while loaded.
"""

import uerrno
import uos
import ustruct
from micropython import const
from uhashlib import sha256

from . import hal
from .errors import OTAError

_FOLDER = const("/.ota")
_PATH = const("/.ota/record")
_NEW = const("/.ota/record.new")

# magic, generation, version, active, trial, attempts, flags, data, floor, rejected; then for each
# slot the sequence, the size and the MD5 of what was received into it; how the last update ended
_FORMAT = const("<4sIBBBBBBxxIIII16sII16s48s")
_BODY = const(120)
_OUTCOME_BYTES = const(48)
_CHECK = const(8)
_LONGEST = const(256)  # bytes of the record of a later version, which may append to it
_VERSION = const(2)
_IS_REVERT = const(1)  # in the flags

_TAKE_DATA_BACK = const(2)

_READ_FAILED = const(3)


class Record:
    """What the board knows of its slots; see the state machine in docs/DESIGN.md."""

    # What is to be done with /data: 0: nothing, 1: the new data are on trial, 2: take them back. A
    # class attribute, since in most records it is 0.
    data = 0

    def __init__(self):
        self.generation = 0
        self.active = None  # slot that is confirmed, "a" or "b"; None: none yet
        self.trial = None  # slot on trial, or None; the active slot if only data are on trial
        self.attempts = 0  # boots of the trial slot so far; without a trial, of the last one
        self.is_revert = False  # whether the trial is the owner's wish to go back
        self.floor = 0  # sequence of the newest release ever confirmed
        self.rejected = 0  # sequence of the release that was taken back last; 0: none
        # For each slot: sequence, size in bytes and MD5 (16 bytes) of the file received last.
        self.received = {"a": (0, 0, b""), "b": (0, 0, b"")}
        self.outcome = ""  # how the last update ended, in words; what is too long is cut off

    @property
    def idle(self):
        """The slot that an update goes to."""
        return "b" if self.active == "a" else "a"

    def try_slot(self, slot, is_revert=False, data=0):
        """Set *slot* on trial from the next boot on; with *data* 1, together with new data."""
        self.trial = slot
        self.attempts = 0
        self.is_revert = is_revert
        self.data = data
        self.store()

    def confirm(self):
        """Make the trial slot the active one. The floor never falls, not by going back either.

        A newer release ends the rejection of an older one. If the trial was the owner's wish to go
        back, the release that the board ran until then is not taken again. Without a trial nothing
        is done: an earlier call that failed may have written the record all the same.
        """
        if self.trial is None:
            return
        self.data = 0
        if self.trial == self.active:  # with new data alone
            self.end_trial("confirmed: data")
            return
        left = self.active
        self.active = self.trial
        sequence = self.received[self.active][0]
        self.floor = max(self.floor, sequence)
        if self.is_revert and left:
            self.rejected = self.received[left][0]
        elif sequence > self.rejected:
            self.rejected = 0
        self.end_trial("confirmed: %d" % sequence)

    def reject(self, why):
        """Take back the trial, if any: the active slot runs, the release on trial is rejected."""
        if self.trial is None:
            return
        what = "data"
        if self.trial != self.active:
            from .slots import mark_rejected

            mark_rejected(self.trial)
            self.rejected = what = self.received[self.trial][0]
        self.end_trial("taken back: %s: %s" % (what, why))

    def end_trial(self, outcome):
        """Write that nothing is on trial, and the *outcome*. New data are to be taken back."""
        if self.data:
            self.data = _TAKE_DATA_BACK
        self.trial = None
        self.is_revert = False
        self.outcome = outcome
        self.store()

    def store(self):
        """Replace the record on flash, after reading back what was written.

        Raises OSError when the flash does not take it; the old record then still stands.
        """
        self.generation += 1
        body = ustruct.pack(
            _FORMAT,
            b"MPBR",
            self.generation,
            _VERSION,
            ord(self.active or "-"),
            ord(self.trial or "-"),
            self.attempts,
            _IS_REVERT if self.is_revert else 0,
            self.data,
            self.floor,
            self.rejected,
            *(self.received["a"] + self.received["b"]),
            self.outcome.encode()[:_OUTCOME_BYTES],
        )
        data = body + sha256(body).digest()[:_CHECK]
        try:
            uos.mkdir(_FOLDER)
        except OSError:
            pass  # it exists already
        with open(_NEW, "wb") as f:
            f.write(data)
        if _read(_NEW) != data:
            raise OSError(uerrno.EIO)  # read back, it differs
        uos.rename(_NEW, _PATH)


def _read(path):
    with open(path, "rb") as f:
        return f.read(_LONGEST + 1)


def load():
    """Return the Record on flash, or None if there is none, or if it is damaged.

    The record of a later version is read as far as this version knows its fields. Raises OSError
    when the flash does not answer; nothing is known about the record then.
    """
    try:
        data = _read(_PATH)
    except OSError as e:
        if e.errno != uerrno.ENOENT:
            raise
        return None
    end = len(data) - _CHECK
    if not _BODY <= end <= _LONGEST - _CHECK or sha256(data[:end]).digest()[:_CHECK] != data[end:]:
        return None
    fields = ustruct.unpack(_FORMAT, data)
    if fields[0] != b"MPBR" or fields[2] < _VERSION:
        return None
    record = Record()
    record.generation = fields[1]
    record.active = _slot(fields[3])
    record.trial = _slot(fields[4])
    record.attempts = fields[5]
    record.is_revert = bool(fields[6] & _IS_REVERT)
    if fields[7]:
        record.data = fields[7]
    record.floor, record.rejected = fields[8:10]
    record.received = {"a": fields[10:13], "b": fields[13:16]}
    try:
        record.outcome = fields[16].rstrip(b"\0").decode()
    except UnicodeError:
        pass  # It was cut off within a character, and is not told.
    return record


def _slot(code):
    return chr(code) if code in b"ab" else None


def load_for_update():
    """Return the Record on flash, or a new one on a board that has no application yet.

    Raises OTAError 3 if an application runs and there is no valid record: then it is not known
    which slot must not be overwritten. The next boot writes a new record.
    """
    try:
        record = load()
    except OSError as e:
        if e.errno != uerrno.ENODEV:
            raise
        hal.mount_files()  # the application has unmounted them
        record = load()
    if record is None:
        if hal.get_state()[1].lower() in "ab":
            raise OTAError(_READ_FAILED, "boot record; restart the board")
        record = Record()
    return record
