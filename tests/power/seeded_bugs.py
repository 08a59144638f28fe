"""Small mistakes made in the device code on purpose: the checks must notice each of them.

An edit's text must be in its file exactly once: when the code moves on, the edit has to follow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import life_checks as checks
from base_flash import Edit


@dataclass(frozen=True)
class SeededBug:
    """Edits of lib/ota, and the check that must fail with them."""

    name: str
    check: Callable[[tuple[Edit, ...], float], None]
    edits: tuple[Edit, ...]


_STORE_ATTEMPT = "    boot_record.attempts += 1\n    boot_record.store()\n    hal.watchdog()\n"
_WIPE_SLOT = "    slots.remove(slots.path(slot))\n    os.mkdir(slots.path(slot))\n"
_REMOVE_STAGING = "manifest.version, slot)\n    slots.remove(STAGING)\n"
_RENAME = "        os.rename(_NEW, _PATH)\n"

SEEDED_BUGS = (
    SeededBug(
        "the record names the image before its hash is checked",
        checks.damaged_on_arrival_is_refused,
        (("verify.py", "    received = updater.sha256.digest()\n",
          "    received = updater.sha256.digest()\n    from .record import load\n"
          "    early = load()\n    early.size_bytes, early.sequence = updater.progress, 3\n"
          "    early.digest = received\n    early.store()\n"),),
    ),
    SeededBug(
        "what was written is not read back before it is staged",
        checks.damaged_on_arrival_is_refused,
        (("verify.py", "if left or digest != received:", "digest = received\n        if left:"),
         ("verify.py", "        manifest = yield from _read(f, updater.buffer)\n",
          "        manifest = 'small', 'new', 3, '', '', 0\n")),
    ),
    SeededBug(
        "attempts are counted after the application is imported",
        checks.bad_is_taken_back,
        (("boot.py", _STORE_ATTEMPT, "    hal.watchdog()\n"),
         ("start.py", "    from app import main\n",
          "    from app import main\n    from .record import load\n    counted = load()\n"
          "    counted.attempts += 1\n    counted.store()\n")),
    ),
    SeededBug(
        "the limit of attempts is ignored",
        checks.bad_is_taken_back,
        (("boot.py", "if boot_record.attempts < _MAX_ATTEMPTS:", "if True:"),),
    ),
    SeededBug(
        "the floor is raised at staging",
        checks.bad_is_taken_back,
        (("stage.py", "    boot_record.sequence = sequence\n",
          "    boot_record.sequence = boot_record.floor = sequence\n"),),
    ),
    SeededBug(
        "confirmed at boot",
        checks.bad_is_taken_back,
        (("boot.py", _STORE_ATTEMPT,
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
        (("start.py", "            services.reject()  # in a trial: does not return\n",
          "            pass\n"),),
    ),
    SeededBug(
        "the watchdog is not armed in a trial",
        checks.hang_is_reset,
        (("boot.py", _STORE_ATTEMPT, _STORE_ATTEMPT.replace("    hal.watchdog()\n", "")),
         ("__init__.py", "hal.watchdog() if self.trial else None", "None")),
    ),
    SeededBug(
        "an update is taken during a trial",
        checks.trial_refuses_an_update,
        (("admission.py", "    if boot_record.trial:\n", "    if False:\n"),),
    ),
    SeededBug(
        "the record is removed before the new one takes its name",
        checks.cut_in_a_store_is_harmless,
        (("record.py", _RENAME, "        if load():\n            os.remove(_PATH)\n" + _RENAME),),
    ),
    SeededBug(
        "the staging file is removed before the record is stored",
        checks.cut_in_a_store_is_harmless,
        (("install.py", "    boot_record.size_bytes = 0\n",
          "    slots.remove(STAGING)\n    boot_record.size_bytes = 0\n"),
         ("install.py", _REMOVE_STAGING, "manifest.version, slot)\n")),
    ),
    SeededBug(
        "the pending image is not checked again before it is installed",
        checks.swapped_image_is_dropped,
        (("install.py",
          "    if size_bytes != boot_record.size_bytes or digest != hexlify(boot_record.digest):\n",
          "    if False:\n"),),
    ),
    SeededBug(
        "the idle slot is not wiped first",
        checks.good_is_confirmed,
        (("install.py", _WIPE_SLOT,
          "    try:\n        os.mkdir(slots.path(slot))\n    except OSError:\n        pass\n"),),
    ),
    SeededBug(
        "the slot is not read back after unpacking",
        checks.damaged_slot_is_dropped,
        (("install.py", "    manifest = slots.verify(slot, buf)\n",
          "    manifest = slots.read_manifest(slot)\n"),),
    ),
    SeededBug(
        "unpacked over the slot that runs",
        checks.cut_in_a_store_is_harmless,
        (("install.py", "    slot = slots.idle(boot_record.active)\n",
          "    slot = boot_record.active\n"),),
    ),
)  # fmt: skip
