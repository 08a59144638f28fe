"""Status of the board, and confirm, reject and revert; loaded when a host asks for one of them, and
has proved to know the password where there is one. Protocol: docs/SPEC.md.

RAM: about 1 KB while loaded.
"""

import gc
import sys

from micropython import const
from utime import sleep_ms, ticks_diff, ticks_ms

from .. import log
from ..errors import OTAError

_ANSWER_BYTES = const(256)  # at most: as many as a request has
# For an answer to leave the chip before it restarts.
_SETTLE_MS = const(100)


def answer(listener, command, address):
    """Do *command*, bytes, for the host at *address*, and answer it once, when it is done."""
    ota = listener.ota
    restarts = False
    if command == b"status":
        text = _status(ota)
    elif command != b"revert" and not ota.trial:
        text = "ERR: no version is on trial"
    elif command == b"confirm":
        text = "OK" if ota.confirm() else "ERR: not confirmed: see the board's log"
    else:
        from .. import trial

        try:
            if ota.trial:
                trial.take_back("the owner wished it")
            else:
                trial.try_before()
            text = "OK"
            restarts = True
        except (OTAError, OSError) as e:
            text = "ERR: %s" % e
    listener.send(text, address)
    if restarts:
        from ..hal import reset

        sleep_ms(_SETTLE_MS)
        reset()


def _status(ota):
    # Lines of a key and a value; the last one, the outcome, is cut off where there is no room.
    from .. import slots

    lines = []
    outcome = ""
    try:
        if ota.slot:
            manifest = slots.manifest_of(ota.slot)
            for key in ("name", "version", "sequence"):
                lines.append("%s %s" % (key, manifest[key]))
        outcome = ota.last_outcome
    except (OTAError, OSError) as e:
        log.error("status: %s", e)
    lines.append("slot " + (ota.slot or "-"))
    lines.append("state " + _state(ota))
    gc.collect()
    lines.append("heap %d" % gc.mem_free())
    lines.append("firmware %d.%d.%d" % sys.implementation.version[:3])
    lines.append("uptime %d" % ota.uptime_s)
    lines.append("address " + ota.wifi.address)
    lines.append("outcome " + outcome)
    return "\n".join(lines).encode()[:_ANSWER_BYTES]


def _state(ota):
    if ota.trial:
        trial_s = ota.settings.get("trial_s", 600)
        return "trial %d" % max(0, trial_s - ticks_diff(ticks_ms(), ota.begun) // 1000)
    if ota.slot is None or ota.has_ended:
        return "alone" if ota.is_alone else "services"
    return "healthy" if ota.healthy else "idle"
