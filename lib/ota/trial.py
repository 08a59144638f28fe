"""The end of a trial: confirmed, taken back, or given up; and what makes a boot a healthy one.

RAM: about 1 KB while loaded, the record and the slots included twice that.
"""

import gc

import uerrno
import uos
import ustruct
from micropython import const
from utime import ticks_ms

from . import hal, log
from .errors import OTAError
from .record import load, load_for_update

_KEYS = const("/ota.keys")

_DAMAGED = const(37)

# The heap that an update needs to begin beside an application, while this module is loaded. If the
# board may restart for the update, an invitation needs the first, a question to a server the second
# and one to hawkBit the third of these; otherwise an update needs the fourth. In words, as in
# restart.py.
_RESTART_WORDS = const(700)
_QUESTION_WORDS = const(1600)
_HAWKBIT_WORDS = const(2250)
_UPDATE_WORDS = const(2300)
# The heap that the update page needs while somebody looks at it.
_PAGE_WORDS = const(1100)


def become_healthy(ota):
    """Note that *ota*'s application is healthy; confirm a trial, unless the application does so."""
    if not ota.trial:
        hal.set_state(0, hal.get_state()[1])
    elif ota.auto_confirm:
        confirm(ota)
        if ota.trial:
            ota.since = ticks_ms()  # it has failed: it is tried again after the same time
            return
    from . import settings

    try:
        if _has_more_to_remove(ota):
            return  # a few files at a time
    except OSError as e:
        log.error("/.ota/data.*: %s", e)
    ota.healthy = True
    try:
        settings.keep()
    except OSError as e:
        log.error("ota.json is not kept: %s", e)


def _has_more_to_remove(ota):
    # Removes a few files that an update of /data has left; returns whether there are more.
    if ota.updater or ota.has_staged_data:
        return False
    for name in uos.listdir("/.ota"):
        if name == "data":
            from .exchange import sweep

            return sweep()
    return False


def confirm(ota):
    """Make the slot on trial the active one; if it brings keys, make them the board's.

    A release that leaves too little heap for the next update stays on trial. A release with damaged
    keys is taken back. Raises OSError when the flash fails: call this again then.
    """
    if not _can_update(ota):
        return
    boot_record = load_for_update()
    if boot_record.active != ota.slot != boot_record.trial:
        hal.reset()  # it was taken back, and the board has not restarted
    try:
        # If the record has no trial, an earlier call has confirmed it, and only its result was an
        # error.
        if boot_record.trial not in (None, boot_record.active):
            _take_keys("/app/ota.keys")
    except OTAError as e:
        reject("its keys are broken: %s" % e)
    else:
        if boot_record.data:
            ota.healthy = False  # the old data are removed when the board is healthy again
        boot_record.confirm()
        ota.trial = False
        if ota.watchdog:
            ota.watchdog.timer.deinit()
            ota.watchdog = None
        hal.set_state(0, boot_record.active)
        log.info("trial: slot %s is confirmed", boot_record.active)


def _can_update(ota):
    # Returns whether the application leaves enough heap to begin an update, or to restart for it.
    gc.collect()
    words = _UPDATE_WORDS
    if ota.settings.get("restart_for_update", True):
        if ota.settings.get("ddi_url"):
            words = _HAWKBIT_WORDS
        elif ota.settings.get("update_url"):
            words = _QUESTION_WORDS
        elif ota.has_password():
            words = _RESTART_WORDS
    needed = words * ustruct.calcsize("P")
    free = gc.mem_free()
    if ota.own_web and ota.own_web.session:
        free += _PAGE_WORDS * ustruct.calcsize("P")
    if free < needed:
        text = "trial: not confirmed: the application leaves %d bytes of heap, an update needs %d"
        log.error(text, free, needed)
    return free >= needed


def reject(why):
    """Take the slot on trial back and restart."""
    take_back(why)
    hal.reset()


def take_back(why):
    """Take the slot on trial back. The caller restarts the board."""
    load_for_update().reject(why)
    log.error("trial: taken back: %s", why)


def last_outcome():
    """Return how the last update ended, in words; "" if the record does not tell."""
    boot_record = load()
    return boot_record.outcome if boot_record else ""


def give_up():
    """Restart, since the trial was not confirmed in time; boot.py counts the tries."""
    log.error("trial: not confirmed in time")
    hal.reset()


def go_back(ota, why):
    """Let the next boot run the version before: end a trial because of *why*, or begin one.

    The caller restarts the board. Outside a trial the slot that ran before is set on trial again;
    raises OTAError 37 when it cannot be used any more, or when it holds a verified update that
    waits for a restart.
    """
    if ota.trial:
        take_back(why)
        return
    from .slots import is_usable, manifest_of

    boot_record = load_for_update()
    slot = boot_record.idle
    if boot_record.active is None or boot_record.trial or not is_usable(slot, bytearray(1024)):
        raise OTAError(_DAMAGED, "there is no version before this one")
    manifest = manifest_of(slot)
    from .exchange import matches

    if "data" in manifest and not matches(manifest["data"]):
        raise OTAError(_DAMAGED, "the data of the version before are gone")
    sequence = manifest["sequence"]
    if boot_record.received[slot][0] != sequence:
        boot_record.received[slot] = (sequence, 0, b"")
    boot_record.try_slot(slot, True)
    log.info("revert: slot %s is tried again", slot)


def _take_keys(path):
    # A release can bring new keys, which replace the board's when it is confirmed:
    # docs/SECURITY.md. They are written before the record, so that the next confirmation repeats
    # what has failed.
    try:
        uos.stat(path)
    except OSError as e:
        if e.errno != uerrno.ENOENT:
            raise  # a flash that does not answer does not say that there are none
        return
    from .updater.signature import read_keys

    for _ in read_keys(path):
        pass
    new = _KEYS + ".new"
    try:
        _copy(path, new)
        uos.rename(new, _KEYS)
    except OSError:
        try:
            uos.remove(new)
        except OSError:
            pass  # the file was not made; the next confirmation overwrites it
        raise
    log.info("trial: the keys of this release are taken over")


def _copy(path, new):
    # Reads back what it wrote: from the next update on, these keys decide who may update the board.
    with open(path, "rb") as source:
        with open(new, "wb") as f:
            while True:
                part = source.read(256)
                if not part:
                    break
                f.write(part)
        source.seek(0)
        with open(new, "rb") as f:
            while True:
                part = source.read(256)
                if f.read(256) != part:
                    raise OSError(uerrno.EIO)  # read back, it differs
                if not part:
                    break
