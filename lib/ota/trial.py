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
