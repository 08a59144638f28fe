"""The status of the board, as the page shows it and as requests by datagrams get it. RAM: about
0.4 KB while loaded.
"""

import gc
import sys

import uerrno
from micropython import const
from ubinascii import hexlify
from utime import ticks_diff, ticks_ms

from . import log, slots
from .errors import OTAError
from .record import load
from .state import state

_DATA_DIGEST = const("/data/.mpota")  # which exchange.py has written
# The limit for the result of the last question to a server, so that the outcome fits as well.
_CHECK_LIMIT = const(48)


def facts(ota):
    """Yield each (name, value) of the board's status; docs/SPEC.md lists them."""
    outcome = ""
    try:
        if ota.slot:
            manifest = slots.manifest_of(ota.slot)
            for name in ("name", "version", "sequence"):
                yield name, manifest[name]
            # Only the beginning of the digest: enough to tell images apart, and short in a
            # datagram.
            yield "digest", hexlify(slots.digest_of(ota.slot)[:8]).decode()
        try:
            with open(_DATA_DIGEST) as f:
                yield "data", f.read(8)
        except OSError as e:
            if e.errno != uerrno.ENOENT:
                raise
        boot_record = load()
        if boot_record:
            outcome = boot_record.outcome
    except (OTAError, OSError) as e:
        log.error("status: %s", e)
    yield "slot", ota.slot or "-"
    word = state(ota)
    if ota.trial:
        trial_s = ota.settings.get("trial_s", 600)
        word += " %d" % max(0, trial_s - ticks_diff(ticks_ms(), ota.begun) // 1000)
    yield "state", word
    gc.collect()
    yield "heap", gc.mem_free()
    yield "firmware", "%d.%d.%d" % sys.implementation.version[:3]
    yield "uptime", ota.uptime_s
    yield "address", ota.address
    if ota.own_pull:
        yield "pull", ota.own_pull.last_check[:_CHECK_LIMIT]
    yield "outcome", outcome
