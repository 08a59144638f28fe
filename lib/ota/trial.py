"""The end of a trial: confirmed, taken back, or given up; and what makes a boot a healthy one."""

from . import forget_modules, hal, log


def become_healthy(ota):
    """Note that *ota*'s application is healthy, which confirms a trial unless it does so itself."""
    ota.healthy = True
    if not ota.trial:
        hal.set_counters(0, 0)
    elif ota.auto_confirm:
        confirm(ota)
    forget_modules("trial", "record", "hal")


def confirm(ota):
    """Make the slot on trial the active one."""
    if ota.trial:
        from .record import load

        boot_record = load()
        _take_keys("/.ota/%s/ota.keys" % boot_record.trial)
        boot_record.confirm()
        ota.trial = False
        hal.set_counters(0, 0)
        log.info("trial: slot %s is confirmed", boot_record.active)


def reject(ota):
    """Take the slot on trial back and restart."""
    if ota.trial:
        from .record import load

        load().reject()
        log.error("trial: taken back")
        hal.reset()


def give_up():
    """Restart a trial that was neither confirmed nor taken back in time; boot counts the tries."""
    log.error("trial: not confirmed in time")
    hal.reset()


def _take_keys(path):
    # A release can bring the keys that are good from its confirmation on; see docs/SECURITY.md.
    # Before the record, so that a power cut in between is made good by the next confirmation.
    import os

    try:
        os.stat(path)
    except OSError:
        return
    from . import keys

    new = keys.KEYS + ".new"
    try:
        for _ in keys.read_keys(path):
            pass
        _copy(path, new)
        os.rename(new, keys.KEYS)
        log.info("trial: the keys of this release are taken over")
    except Exception as e:
        log.error("trial: keys not taken over: %s", e)
        try:
            os.remove(new)
        except OSError:
            pass  # it was not written yet
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
