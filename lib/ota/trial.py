"""The end of a trial: confirmed, taken back, or given up; and what makes a boot a healthy one."""

from . import forget_modules, hal, log


def become_healthy(ota):
    """Note that *ota*'s application is healthy, which confirms a trial unless it does so itself."""
    if not ota.trial:
        hal.set_counters(0, hal.counters()[1])
    elif ota.auto_confirm:
        confirm(ota)
    ota.healthy = True
    forget_modules("trial", "record", "hal")


def confirm(ota):
    """Make the slot on trial the active one, and the keys that it may bring the board's.

    Keys that are broken are a reason to take it back. Raises OSError when the flash fails: it
    is to be called again.
    """
    from .errors import OTAError
    from .record import load_for_update

    boot_record = load_for_update()
    try:
        # Without a trial it was confirmed before, though the flash said that it was not.
        if boot_record.trial:
            _take_keys("/.ota/%s/ota.keys" % boot_record.trial)
    except OTAError as e:
        log.error("trial: its keys are broken: %s", e)
        reject()
    else:
        boot_record.confirm()
        ota.trial = False
        hal.set_counters(0, 0)
        log.info("trial: slot %s is confirmed", boot_record.active)


def reject():
    """Take the slot on trial back and restart."""
    from .record import load_for_update

    load_for_update().reject()
    log.error("trial: taken back")
    hal.reset()


def give_up():
    """Restart a trial that was neither confirmed nor taken back in time; boot counts the tries."""
    log.error("trial: not confirmed in time")
    hal.reset()


def _take_keys(path):
    # A release can bring the keys that are good from its confirmation on; see docs/SECURITY.md.
    # Before the record, so that whatever fails in between is made good by the next confirmation.
    import errno
    import os

    try:
        os.stat(path)
    except OSError as e:
        if e.errno != errno.ENOENT:
            raise  # a flash that does not answer does not say that there are none
        return
    from .keys import KEYS, read_keys

    for _ in read_keys(path):
        pass
    read_keys = None
    new = KEYS + ".new"
    try:
        _copy(path, new)
        os.rename(new, KEYS)
    except OSError:
        from .slots import remove

        remove(new)
        raise
    log.info("trial: the keys of this release are taken over")
    forget_modules("keys")


def _copy(path, new):
    # Reads back what it wrote: from the next update on, nothing else tells a friend from a foe.
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
                    raise OSError("read back differs")
                if not part:
                    break
