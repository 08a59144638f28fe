"""The boot decision: which slot runs now. It lies in the system ROM, outside both slots, and knows
no network. RAM: about 0.9 KB, given back when start.py or `OTA.begin()` takes over.
"""

import sys

import uos
from micropython import const

from . import hal, log, record, slots

# How often a release on trial is booted before it is taken back. Three times, so that an unstable
# power supply does not get a good release rejected.
_MAX_ATTEMPTS = const(3)
# After so many boots in a row that did not become healthy, one boot leaves the application out.
_MAX_UNHEALTHY = const(10)

_BUFFER_BYTES = const(1024)

# In the record: what is to be done with /data.
_NEW_DATA = const(1)
_TAKE_DATA_BACK = const(2)

# If a release brings the package: the time until its begin(), which starts the trial's watchdog.
_GUARD_MS = const(10000)


def decide():
    """Take back what failed, count a trial, mount the slot that is to run. Never raises.

    From then on, `hal.get_state()` tells which slot runs. If no application runs, the pins of the
    setting `safe_pins` get their levels.
    """
    try:
        boots, what = hal.get_state()
        if what == hal.ASKED:
            hal.set_state(boots, hal.ALONE)
            log.info("boot: the services run alone, for one update")
        else:
            hal.set_state(boots, hal.NOTHING)
            _decide(what == hal.HUNG)
    except Exception as e:
        # Flash or memory trouble: the services run, and the next boot tries again.
        log.error("boot: %r", e)
    if hal.get_state()[1] in (hal.NOTHING, hal.SAFE, hal.ALONE):
        from .settings import set_safe_pins

        set_safe_pins()


def _decide(has_hung):
    boot_record = record.load() or _recover()
    if boot_record is None:
        log.info("boot: no application yet")
        return
    _take_data_back(boot_record)
    if boot_record.trial:
        _try(boot_record, has_hung)
    else:
        _run(boot_record)


def _try(boot_record, has_hung):
    trial = boot_record.trial
    if boot_record.attempts >= _MAX_ATTEMPTS:
        why = "it hung" if has_hung else "not confirmed in %d boots" % _MAX_ATTEMPTS
        _end_trial(boot_record, boot_record.reject, why)
    elif slots.is_rejected(trial):  # the power failed before the record was written
        _end_trial(boot_record, boot_record.reject, "the power failed when it was taken back")
    elif not slots.is_usable(trial, bytearray(_BUFFER_BYTES)):
        _end_trial(boot_record, boot_record.end_trial, "failed: the new version is not whole")
    else:
        # The boot is counted, and the record read back, before anything of the slot is imported.
        boot_record.attempts += 1
        boot_record.store()
        if boot_record.data == _NEW_DATA:
            from . import exchange

            exchange.bring()
        text = "boot: slot %s on trial, boot %d of %d"
        log.info(text, trial, boot_record.attempts, _MAX_ATTEMPTS)
        _start(trial, hal.get_state()[0], trial.upper())


def _end_trial(boot_record, end, why):
    # The active slot can run even if the record cannot be written.
    log.error("boot: slot %s: %s", boot_record.trial, why)
    _try_to_write(end, why)
    _take_data_back(boot_record)
    _run(boot_record)


def _take_data_back(boot_record):
    # If this fails, no application runs: it would find data that do not belong to it.
    if boot_record.data == _TAKE_DATA_BACK:
        from . import exchange

        exchange.take_back()
        boot_record.data = 0
        log.info("boot: /data is as before")
        _try_to_write(boot_record.store)


def _try_to_write(function, *args):
    try:
        function(*args)
    except OSError as e:
        log.error("boot: record not written: %s", e)


def _run(boot_record):
    active = boot_record.active
    if active is None:
        return
    if not slots.is_accepted(active):
        log.error("boot: slot %s is not marked as accepted", active)
        return
    boots, _ = hal.get_state()
    if boots >= _MAX_UNHEALTHY:
        log.error("boot: %d boots without a healthy one: safe mode", boots)
        # The boot after this one tries the application once more.
        hal.set_state(_MAX_UNHEALTHY - 1, hal.SAFE)
        return
    if not hal.woke_from_sleep():
        boots += 1
    log.info("boot: slot %s", active)
    _start(active, boots, active)


def _start(slot, boots, what):
    slots.mount(slot)
    hal.set_state(boots, what)
    # In sys.path behind the modules that the services need, and before everything else.
    sys.path[2:2] = ["/app", "/app/lib"]
    try:
        uos.stat("/app/.ota/ota")
    except OSError:
        return
    # The release brings this package in its own version. It runs beside the application from here
    # on: what is imported next comes from there.
    sys.path.insert(0, "/app/.ota")
    for name in list(sys.modules):
        if name == "ota" or name[:4] == "ota.":
            sys.modules.pop(name)
    if what in "AB":
        # If that package hangs or cannot be imported, this timer resets the board. The package's
        # begin() stops the timer; it finds it in sys.modules, which both copies share.
        sys.modules["ota_guard"] = hal.timer(_GUARD_MS, _give_up)


def _give_up(_):
    try:
        hal.set_state(hal.get_state()[0], hal.HUNG)
    finally:  # even if the heap is full
        hal.reset_at_once()


def _recover():
    # No readable record: the usable slot, and the one with the higher sequence if both are.
    # The sequence of each usable slot is noted, since the owner may go back to the other one.
    buffer = bytearray(_BUFFER_BYTES)
    found = record.Record()
    for slot in "ab":
        if slots.is_usable(slot, buffer):
            sequence = slots.manifest_of(slot)["sequence"]
            found.received[slot] = (sequence, 0, b"")
            if sequence > found.floor:
                found.active = slot
                found.floor = sequence
    if found.active is None:
        return None
    log.error("boot: no readable record; slot %s is whole", found.active)
    from .exchange import recover

    recover()
    _try_to_write(found.store)
    return found
