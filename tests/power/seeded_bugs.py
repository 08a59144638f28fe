"""Small mistakes made in the device code on purpose: the checks must notice each of them.

An edit's text must be in its file exactly once: when the code moves on, the edit has to follow.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import life_checks as checks
from base_flash import Edit, StaleEditError, edited_sources


@dataclass(frozen=True)
class SeededBug:
    """Edits of lib/ota, and the check that must fail with them."""

    name: str
    check: Callable[[tuple[Edit, ...], float], None]
    edits: tuple[Edit, ...]

    @property
    def command(self) -> str:
        """The command that repeats it."""
        return f"python tests/power/repeat.py --bug '{self.name}'"

    def sources(self) -> dict[str, str]:
        """Return the sources of lib/ota with the bug in them. Raises StaleEditError."""
        try:
            return edited_sources(self.edits)
        except StaleEditError as e:
            raise StaleEditError(f"seeded bug {self.name!r} has to follow the code: {e}") from None

    def caught_by(self, timeout_s: float) -> str | None:
        """Return how the check failed, None if it did not. Raises StaleEditError.

        *timeout_s* is how long the check waits for a board that the bug keeps from going on; longer
        on a machine where that is too short for the code without the bug.
        """
        self.sources()  # an edit that cannot be made is no bug that was caught
        try:
            self.check(self.edits, timeout_s)
        except AssertionError as e:
            return str(e)
        except TimeoutError as e:
            try:
                self.check((), timeout_s)
            except TimeoutError:
                if timeout_s > _LONGEST_S:
                    raise
                return self.caught_by(2 * timeout_s)
            if broken := re.search("(Name|Syntax|Import)Error", str(e)):
                raise StaleEditError(f"seeded bug {self.name!r} is a {broken[0]}: {e}") from None
            return str(e)
        return None


_LONGEST_S = 30

_COUNT = "    boot_record.attempts += 1\n"
_DROP_SIZE = "    boot_record.size_bytes = 0\n"
_RECEIVED = "    received = updater.sha256.digest()\n"
_RENAME = "        os.rename(_NEW, _PATH)\n"

SEEDED_BUGS = (
    SeededBug(
        "the record names the image before its hash is checked",
        checks.damaged_on_arrival_is_refused,
        (("verify.py", _RECEIVED,
          _RECEIVED + "    from .record import load\n"
          "    early = load()\n    early.size_bytes, early.sequence = updater.progress, 3\n"
          "    early.digest = received\n    early.store()\n"),),
    ),
    SeededBug(
        "what was written is not compared with what arrived",
        checks.damaged_on_arrival_is_refused,
        (("verify.py", "digest != received", "False"),
         ("image.py", "not reader.matches(found)", "False")),
    ),
    SeededBug(
        "attempts are counted after the application is imported",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT, ""),
         ("start.py", "    from app import main\n",
          "    from app import main\n    from .record import load\n    counted = load()\n"
          "    counted.attempts += 1\n    counted.store()\n")),
    ),
    SeededBug(
        "the limit of attempts is ignored",
        checks.bad_is_taken_back,
        (("boot.py", "boot_record.attempts < _MAX_ATTEMPTS", "True"),),
    ),
    SeededBug(
        "the floor is raised when a release is accepted",
        checks.bad_is_taken_back,
        (("stage.py", "boot_record.sequence = ", "boot_record.sequence = boot_record.floor = "),),
    ),
    SeededBug(
        "the floor is raised when a trial begins",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT, _COUNT + "    boot_record.floor = boot_record.sequence\n"),),
    ),
    SeededBug(
        "confirmed at boot",
        checks.bad_is_taken_back,
        (("boot.py", _COUNT,
          "    trial = boot_record.trial\n    boot_record.confirm()\n    return trial\n"),),
    ),
    SeededBug(
        "the rejected release is not remembered",
        checks.bad_is_taken_back,
        (("record.py", "        self.rejected = self.sequence\n", ""),),
    ),
    SeededBug(
        "an application that raises is not taken back",
        checks.bad_is_taken_back,
        (("start.py", "services.reject()", "pass"),),
    ),
    SeededBug(
        "the watchdog is not armed in a trial",
        checks.hang_is_reset,
        (("hal.py", "machine.WDT()", "type('Toothless', (), {'feed': lambda self: None})()"),),
    ),
    SeededBug(
        "an update is taken during a trial",
        checks.trial_refuses_an_update,
        (("admission.py", "if boot_record.trial:", "if False:"),),
    ),
    SeededBug(
        "the record is removed before the new one takes its name",
        checks.cut_in_a_store_is_harmless,
        (("record.py", _RENAME, "        if load():\n            os.remove(_PATH)\n" + _RENAME),),
    ),
    SeededBug(
        "the staging file is removed before the record is stored",
        checks.cut_in_a_store_is_harmless,
        (("install.py", "    slots.remove(STAGING)\n", ""),
         ("install.py", _DROP_SIZE, "    slots.remove(STAGING)\n" + _DROP_SIZE)),
    ),
    SeededBug(
        "the pending image is not checked again before it is installed",
        checks.swapped_image_is_dropped,
        (("install.py", "size_bytes != boot_record.size_bytes", "False"),
         ("install.py", "digest != hexlify(boot_record.digest)", "False")),
    ),
    SeededBug(
        "the idle slot is not wiped first",
        checks.good_is_confirmed,
        (("install.py", "    slots.remove(slots.path(slot))\n", ""),
         ("install.py", "    os.mkdir(slots.path(slot))\n",
          "    try:\n        os.mkdir(slots.path(slot))\n    except OSError:\n        pass\n")),
    ),
    SeededBug(
        "the slot is not read back after unpacking",
        checks.damaged_slot_is_dropped,
        (("install.py", ".verify_slot(slot, buf)", ".read_manifest(slot)"),),
    ),
    SeededBug(
        "unpacked over the slot that runs",
        checks.cut_in_a_store_is_harmless,
        (("install.py", "slots.idle(boot_record.active)", "boot_record.active"),),
    ),
    SeededBug(
        "the signature is not checked",
        checks.strangers_signature_is_refused,
        (("signature.py", "    raise OTAError(_FAILED)\n", "    return\n"),),
    ),
    SeededBug(
        "the old keys are removed before the new ones take their name",
        checks.cut_in_a_change_of_keys_is_harmless,
        (("trial.py", "os.rename(", "os.remove('/ota.keys'); os.rename("),),
    ),
    SeededBug(
        "keys change after the record",
        checks.cut_in_a_change_of_keys_is_harmless,
        (("trial.py", "boot_record.confirm()", "pass"),
         ("trial.py", '_take_keys("', 'boot_record.confirm(); _take_keys("'),
         ("trial.py", "% boot_record.trial)", "% boot_record.active)")),
    ),
    SeededBug(
        "any password is taken",
        checks.wrong_password_is_refused,
        (("espota_auth.py", "return not difference", "return True"),),
    ),
)  # fmt: skip
