"""Small mistakes made in the device code on purpose: the checks must notice each of them.

An edit's text must be in its file exactly once: when the code moves on, the edit has to follow.
"""

import re
from dataclasses import dataclass

import life_checks as checks
from base_flash import StaleEditError, system_rom
from mpota.errors import CommandError
from scenarios import Edit


@dataclass(frozen=True)
class SeededBug:
    """Edits of lib/ota, and the check that must fail with them."""

    name: str
    check: checks.Check
    edits: tuple[Edit, ...]

    @property
    def command(self) -> str:
        """The command that repeats it."""
        return f"python tests/power/repeat.py --bug '{self.name}'"

    def rom(self) -> bytes:
        """Return the system ROM with the bug in it. Raises StaleEditError."""
        try:
            return system_rom(self.edits)
        except (StaleEditError, CommandError) as e:
            raise StaleEditError(f"seeded bug {self.name!r} has to follow the code: {e}") from None

    def caught_by(self, timeout_s: float) -> str | None:
        """Return how the check failed, None if it did not. Raises StaleEditError.

        *timeout_s* is how long the check waits for a board that the bug keeps from going on; longer
        on a machine where that is too short for the code without the bug.
        """
        self.rom()  # an edit that cannot be made is no bug that was caught
        try:
            self.check(self.edits, timeout_s)
        except TimeoutError as e:
            failure = _told(e)
            if not self._is_long_enough(timeout_s):
                if timeout_s > _LONGEST_S:
                    raise
                return self.caught_by(2 * timeout_s)
        except AssertionError as e:
            failure = _told(e)
        else:
            return None
        if broken := re.search(r"(Name|Import|Attribute)Error.*", failure):
            raise StaleEditError(f"seeded bug {self.name!r} is a {broken[0]}: {failure}")
        return failure

    def _is_long_enough(self, timeout_s: float) -> bool:
        try:
            self.check((), timeout_s)
        except TimeoutError:
            return False
        return True


_LONGEST_S = 30


def _told(error: Exception) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", [])])


_COUNT = "        boot_record.attempts += 1\n        boot_record.store()\n"
_MARK_ACCEPTED = "    slots.mark_accepted(updater.slot)\n"
_MARK_REJECTED = "            mark_rejected(self.trial)\n"
_TRY = "    boot_record.try_slot(updater.slot, False, boot_record.data)\n"
_SIGNED = "    if updater.signature:\n        # The arithmetic"
_AT_FIRST = "            if first == 0:\n"
_ERASE_MARKS = _AT_FIRST + "                slots.erase_marks(self.slot)\n"
_SPOIL = "            slots.spoil_accepted(self.slot)\n"
_RENAME = "        uos.rename(_NEW, _PATH)\n"
_READ_BACK = "        if _read(_NEW) != data:\n"
_LEFT = "        if self.is_revert and left:\n"

SEEDED_BUGS = (
    SeededBug(
        "accepted is marked before the signature is checked",
        checks.refused_never_runs("stranger"),
        (("updater/verify.py", _SIGNED, _MARK_ACCEPTED + _SIGNED),),
    ),
    SeededBug(
        "accepted is marked before policy is asked",
        checks.refused_never_runs("policy"),
        (("updater/verify.py", "    boot_record = _judge(manifest",
          _MARK_ACCEPTED + "    boot_record = _judge(manifest"),),
    ),
    SeededBug(
        "accepted is marked before the records are walked",
        checks.refused_never_runs("lies"),
        (("updater/verify.py", "    window = bytearray(slots.HEAD_BYTES)\n",
          _MARK_ACCEPTED + "    window = bytearray(slots.HEAD_BYTES)\n"),),
    ),
    SeededBug(
        "the marks are erased last",
        checks.cut_before_a_refusal_is_harmless,
        (("updater/__init__.py", _ERASE_MARKS, _AT_FIRST + "                pass\n"),
         ("updater/__init__.py", _SPOIL, ""),
         ("updater/__init__.py", "            yield from self._checks.verify(self)\n",
          "            slots.erase_marks(self.slot)\n"
          "            yield from self._checks.verify(self)\n")),
    ),
    SeededBug(
        "the marks are not erased",
        checks.refused_never_runs("stranger"),
        (("updater/__init__.py", _ERASE_MARKS, _AT_FIRST + "                pass\n"),
         ("updater/__init__.py", _SPOIL, "")),
    ),
    SeededBug(
        "accepted is not spoiled before the marks are erased",
        checks.torn_erase_brings_nothing_back,
        (("updater/__init__.py", _SPOIL, ""),),
    ),
    SeededBug(
        "an image is read back through the memory map",
        checks.good_is_confirmed,
        (("updater/__init__.py", "            hal.flash_read(slots.start(self.slot) + at, view)\n",
          "            from uctypes import bytearray_at\n"
          "            start = 0x40200000 + slots.start(self.slot)\n"
          "            view[:] = bytearray_at(start + at, len(view))\n"),),
    ),
    SeededBug(
        "what was written is not compared with what was announced",
        checks.refused_never_runs("digest"),
        (("updater/verify.py",
          "if whole and whole.digest() != unhexlify(updater.expected_sha256)", "if False"),),
    ),
    SeededBug(
        "the footer is not compared",
        checks.refused_never_runs("damaged"),
        (("updater/verify.py",
          "if whole and whole.digest() != unhexlify(updater.expected_sha256)", "if False"),
         ("updater/verify.py",
          "if not slots.is_footer(bytes(head), length, content)", "if False")),
    ),
    SeededBug(
        "the signature is not checked",
        checks.refused_never_runs("stranger"),
        (("updater/signature.py", "    raise OTAError(_FAILED)\n", "    return\n"),),
    ),
    SeededBug(
        "the records are not walked",
        checks.refused_never_runs("lies"),
        (("updater/verify.py", "    yield from _walk(start, length, window)\n", ""),),
    ),
    SeededBug(
        "what the head of an image shows accepts it",
        checks.refused_never_runs("policy"),
        (("updater/verify.py", "    boot_record = _judge(manifest, updater)\n",
          "    boot_record = load_for_update()\n"),),
    ),
    SeededBug(
        "the record names a slot before it is marked as accepted",
        checks.cut_is_harmless("update"),
        (("updater/verify.py", _MARK_ACCEPTED, ""),
         ("updater/verify.py", _TRY, _TRY + _MARK_ACCEPTED)),
    ),
    SeededBug(
        "the record names a slot before its image is verified",
        checks.cut_is_harmless("update"),
        (("updater/__init__.py", "            if resume_at:\n                slots.erase_marks",
          "            boot_record.try_slot(self.slot)\n"
          "            if resume_at:\n                slots.erase_marks"),),
    ),
    SeededBug(
        "attempts are counted after the application is imported",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT, ""),
         ("start.py", "    from app import main\n",
          "    from app import main\n    if services.trial:\n"
          "        from .record import load\n        counted = load()\n"
          "        counted.attempts += 1\n        counted.store()\n")),
    ),
    SeededBug(
        "the count of attempts is not written",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT, "        boot_record.attempts += 1\n"),),
    ),
    SeededBug(
        "the count of attempts is not read back",
        checks.record_that_flash_does_not_take_changes_nothing,
        (("record.py", _READ_BACK, "        if False:\n"),),
    ),
    SeededBug(
        "the limit of attempts is ignored",
        checks.bad_is_taken_back,
        (("boot.py", "boot_record.attempts >= _MAX_ATTEMPTS", "False"),),
    ),
    SeededBug(
        "the floor is raised when a release is accepted",
        checks.bad_is_taken_back,
        (("record.py", "        self.attempts = 0\n        self.is_revert = is_revert\n",
          "        self.attempts = 0\n        self.is_revert = is_revert\n"
          "        self.floor = max(self.floor, self.received[slot][0])\n"),),
    ),
    SeededBug(
        "the floor is raised when a trial begins",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT,
          "        boot_record.floor = max(boot_record.floor, boot_record.received[trial][0])\n"
          + _COUNT),),
    ),
    SeededBug(
        "the floor falls when the owner goes back",
        checks.owner_goes_back,
        (("record.py", "        self.floor = max(self.floor, sequence)\n",
          "        self.floor = sequence\n"),),
    ),
    SeededBug(
        "confirmed at boot",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT, "        boot_record.confirm()\n"),),
    ),
    SeededBug(
        "the rejected release is not remembered",
        checks.bad_is_taken_back,
        (("record.py", "self.rejected = what = self.received", "what = self.received"),),
    ),
    SeededBug(
        "the rejected slot is not marked",
        checks.rejected_never_runs,
        (("record.py", _MARK_REJECTED, ""),),
    ),
    SeededBug(
        "the record is written before the mark when a trial is taken back",
        checks.cut_is_harmless("raises"),
        (("record.py", _MARK_REJECTED, "            trial = self.trial\n"),
         ("record.py", '% (what, why))\n', '% (what, why))\n        mark_rejected(trial)\n')),
    ),
    SeededBug(
        "a mark of a slot that was taken back is overlooked when power fails before the record",
        checks.cut_is_harmless("raises"),
        (("boot.py", "elif slots.is_rejected(trial)", "elif False"),),
    ),
    SeededBug(
        "marks are ignored in a recovery",
        checks.refused_never_runs("stranger"),
        (("boot.py", "        if slots.is_usable(slot, buffer):\n",
          "        if slots.is_whole(slot, buffer):\n"),),
    ),
    SeededBug(
        "a mark of a slot that was taken back is ignored in a recovery",
        checks.rejected_never_runs,
        (("slots.py", "return marks[:4] == _ACCEPTED and not is_rejected(slot)",
          "return marks[:4] == _ACCEPTED"),),
    ),
    SeededBug(
        "digests are ignored in a recovery",
        checks.record_that_is_lost_is_made_anew,
        (("boot.py", "        if slots.is_usable(slot, buffer):\n",
          "        if slots.is_accepted(slot):\n"),),
    ),
    SeededBug(
        "a recovery takes the older version",
        checks.record_that_is_lost_is_made_anew,
        (("boot.py", "if sequence > found.floor:", "if not found.active:"),),
    ),
    SeededBug(
        "a slot is tried without a look at its digest",
        checks.damaged_slot_is_not_tried,
        (("boot.py", "elif not slots.is_usable(trial, bytearray(_BUFFER_BYTES))",
          "elif not slots.is_accepted(trial)"),),
    ),
    SeededBug(
        "the owner goes back to a slot that nobody looks at",
        checks.refused_never_runs("stranger"),
        (("trial.py", " or not is_usable(slot, bytearray(1024))", ""),),
    ),
    SeededBug(
        "the owner goes back to an update that waits for its first boot",
        checks.owner_does_not_go_on,
        (("trial.py", "boot_record.active is None or boot_record.trial",
          "boot_record.active is None"),),
    ),
    SeededBug(
        "the version that the owner left is not rejected",
        checks.owner_goes_back,
        (("record.py", _LEFT, "        if False:\n"),),
    ),
    SeededBug(
        "the trial is not ended before an update over it",
        checks.cut_is_harmless("second-update"),
        (("updater/__init__.py", "if boot_record.trial:", "if False:"),),
    ),
    SeededBug(
        "an update goes into the slot that runs",
        checks.cut_is_harmless("update"),
        (("record.py", 'return "b" if self.active == "a" else "a"',
          'return "a" if self.active == "a" else "b"'),),
    ),
    SeededBug(
        "an application that raises is not taken back",
        checks.bad_is_taken_back,
        (("start.py", "services.reject(", "str("),),
    ),
    SeededBug(
        "the watchdog is not armed in a trial",
        checks.hang_is_reset,
        (("begin.py", "if ota.trial and not", "if False and not"),),
    ),
    SeededBug(
        "an update is taken during a trial",
        checks.trial_refuses_an_update,
        (("updater/__init__.py", "        if self.ota.trial:\n", "        if False:\n"),),
    ),
    SeededBug(
        "the record is removed before the new one takes its name",
        checks.cut_is_harmless("update"),
        (("record.py", _RENAME, "        if load():\n            uos.remove(_PATH)\n" + _RENAME),),
    ),
    SeededBug(
        "the record is written in place",
        checks.record_that_flash_does_not_take_changes_nothing,
        (("record.py", _RENAME, ""),
         ("record.py", '        with open(_NEW, "wb") as f:\n',
          '        with open(_PATH, "wb") as f:\n'),
         ("record.py", _READ_BACK, "        if _read(_PATH) != data:\n")),
    ),
    SeededBug(
        "the old keys are removed before the new ones take their name",
        checks.cut_is_harmless("new-keys"),
        (("trial.py", "        uos.rename(new, _KEYS)\n",
          "        uos.remove(_KEYS)\n        uos.rename(new, _KEYS)\n"),),
    ),
    SeededBug(
        "keys change after the record",
        checks.cut_is_harmless("new-keys"),
        (("trial.py", '            _take_keys("/app/ota.keys")\n',
          '            boot_record.confirm()\n            _take_keys("/app/ota.keys")\n'),
         ("trial.py", "        boot_record.confirm()\n        ota.trial", "        ota.trial")),
    ),
    SeededBug(
        "an application is tried without its new data",
        checks.data_come_to_their_end,
        (("boot.py", "if boot_record.data == _NEW_DATA", "if False"),),
    ),
    SeededBug(
        "new data stay though their trial is taken back",
        checks.data_come_to_their_end,
        (("record.py", "            self.data = _TAKE_DATA_BACK\n",
          "            self.data = 0\n"),),
    ),
    SeededBug(
        "data that are confirmed are taken back all the same",
        checks.data_come_to_their_end,
        (("record.py", "        self.data = 0\n        if self.trial == self.active",
          "        if self.trial == self.active"),),
    ),
    SeededBug(
        "the record forgets that data are to be taken back before that is done",
        checks.data_cut_is_harmless("alone, taken back"),
        (("boot.py", "        exchange.take_back()\n        boot_record.data = 0\n",
          "        boot_record.data = 0\n        _try_to_write(boot_record.store)\n"
          "        exchange.take_back()\n"),),
    ),
    SeededBug(
        "the data before are removed when the new ones take their place",
        checks.data_come_to_their_end,
        (("exchange.py", "        uos.rename(NEW, DATA)\n",
          "        uos.rename(NEW, DATA)\n        remove(_OLD)\n"),),
    ),
    SeededBug(
        "the record names data before they are unpacked",
        checks.data_cut_is_harmless("alone"),
        (("data/__init__.py", "    yield from _unpack(image)\n    if not",
          "    boot_record.try_slot(boot_record.active, False, _NEW_DATA)\n"
          "    yield from _unpack(image)\n    if not"),),
    ),
    SeededBug(
        "what was received of data is not compared with what was announced",
        checks.damaged_data_are_refused,
        (("updater/verify.py",
          "if whole and whole.digest() != unhexlify(updater.expected_sha256)", "if False"),),
    ),
    SeededBug(
        "the signature of data is not checked",
        checks.unsigned_data_are_refused,
        (("data/__init__.py", "    check_signature(updater, image.end, digest)\n", ""),),
    ),
    SeededBug(
        "an update of data keeps no files",
        checks.data_come_to_their_end,
        (("data/__init__.py", "        yield from keeping(manifest)\n", "        pass\n"),),
    ),
    SeededBug(
        "data that come with an application keep no files",
        checks.data_come_to_their_end,
        (("updater/verify.py", "        yield from keeping(manifest)\n", "        pass\n"),),
    ),
    SeededBug(
        "an application that names new data is tried with the old ones",
        checks.data_come_to_their_end,
        (("exchange.py", "        boot_record.data = _NEW_DATA\n", "        pass\n"),),
    ),
    SeededBug(
        "new data take the place of the old ones at once",
        checks.data_cut_is_harmless("alone, taken back"),
        (("data/__init__.py", "    exchange.finish(digest)\n",
          "    exchange.finish(digest)\n    exchange.bring()\n"),),
    ),
    SeededBug(
        "any password is taken",
        checks.wrong_password_is_refused,
        (("arduino/auth.py", "return not difference", "return True"),),
    ),
)  # fmt: skip
