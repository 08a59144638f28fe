"""The boot decision: which slot runs now. Lives outside both slots and knows no network."""

import os
import sys

from micropython import const

from . import hal, log, record

# A trial's boots before it is taken back. Three, so that a flapping supply spares a good release.
_MAX_ATTEMPTS = const(3)
# Boots in a row that never became healthy before the application is left out for one.
_MAX_UNHEALTHY = const(10)
# Tries at unpacking an image that came to no end.
_MAX_INSTALLS = const(3)

# The slot to run, "a" or "b"; None: no application, only the update services.
slot = None


def decide():
    """Install what is pending, take back what failed, and set `slot`. Never raises."""
    global slot
    try:
        slot = _decide()
    except Exception as e:
        # Flash or memory trouble: the services run, and the next boot tries again.
        log.error("boot: %r", e)
        slot = None


def put_first(active):
    """Put the slot *active* first on sys.path; forget this package if the slot brings its own."""
    put_on_path(active)
    try:
        os.stat("/.ota/" + active + "/lib/ota")
    except OSError:
        return
    # Emptied as well, since boot.py and main.py still hold the package; start.py goes on.
    modules = sys.modules
    for name in list(modules):
        if name == "ota" or name[:4] == "ota.":
            module = modules.pop(name)
            if name != "ota.start":
                module.__dict__.clear()


def put_on_path(active):
    """Put the slot *active* and its lib first on sys.path, so that it can bring newer libraries."""
    sys.path[:0] = ["/.ota/" + active, "/.ota/" + active + "/lib"]


def _decide():
    boot_record = record.load() or _recover()
    if boot_record is None:
        log.info("boot: no application yet")
        return None
    if boot_record.size_bytes:
        boot_record = _install(boot_record)
    if boot_record.trial:
        if boot_record.attempts < _MAX_ATTEMPTS:
            return _try(boot_record)
        log.error("boot: not confirmed in %d boots, taken back", _MAX_ATTEMPTS)
        _store(boot_record.reject)
    return _run(boot_record.active)


def _install(boot_record):
    # Returns the record to go on with.
    boots, installs = hal.counters()
    hal.set_counters(boots, installs + 1)
    try:
        if installs >= _MAX_INSTALLS:
            raise OSError("it did not end in %d boots" % installs)
        from .install import install

        install(boot_record)
    except MemoryError as e:
        # On a heap as empty as this it will hardly pass, but the image may yet be good.
        log.error("install: %s; it is tried again", e)
        return record.load() or record.Record()
    except Exception as e:
        log.error("install: %s; the image is dropped", e)
        boot_record = record.load() or record.Record()  # not what install made of it
        if boot_record.size_bytes:  # else it is installed, and only its file could not be removed
            _store(boot_record.drop_pending)
    hal.set_counters(boots, 0)
    return boot_record


def _store(change):
    # A change of the record that may fail: the active slot can run without it.
    try:
        change()
    except OSError as e:
        log.error("boot: record not written: %s", e)


def _try(boot_record):
    # Counted, and read back, before anything of the slot is imported.
    boot_record.attempts += 1
    boot_record.store()
    hal.watchdog()
    text = "boot: slot %s on trial, boot %d of %d"
    log.info(text, boot_record.trial, boot_record.attempts, _MAX_ATTEMPTS)
    return boot_record.trial


def _run(active):
    boots, installs = hal.counters()
    if active is None:
        return None
    if boots >= _MAX_UNHEALTHY:
        log.error("boot: %d boots without a healthy one, safe mode", boots)
        # The boot after this one tries the application once more.
        hal.set_counters(_MAX_UNHEALTHY - 1, installs)
        return None
    if not hal.woke_from_sleep():
        hal.set_counters(boots + 1, installs)
    log.info("boot: slot %s", active)
    return active


def _recover():
    # No readable record: the newest slot whose files are all whole.
    from .slot_contents import verify_slot

    buf = memoryview(bytearray(1024))
    best = None
    for candidate in "ab":
        manifest = verify_slot(candidate, buf)
        if manifest and (best is None or manifest.sequence > best.floor):
            best = record.Record()
            best.active = candidate
            best.floor = manifest.sequence
    if best:
        log.error("boot: no readable record, slot %s is whole", best.active)
        _store(best.store)
    return best
