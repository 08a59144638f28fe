"""Requests of a host: the status of the board, confirm, reject and revert. Loaded for one of them,
after the host has proved the password, if there is one. Protocol: docs/SPEC.md.

RAM: about 1 KB while loaded.
"""

from micropython import const
from utime import sleep_ms

from ..errors import OTAError

_ANSWER_BYTES = const(256)  # at most: as many as a request has
# For an answer to leave the chip before it restarts.
_SETTLE_MS = const(100)


def begin(listener, command, address):
    """Do *command*, bytes, for the host at *address*, and answer it once, when it is done."""
    ota = listener.ota
    restarts = False
    if command == b"status":
        # Lines of a name and a value; the last one, the outcome, is cut off where there is no room.
        from ..status import facts

        text = "\n".join(["%s %s" % fact for fact in facts(ota)]).encode()[:_ANSWER_BYTES]
    elif command != b"revert" and not ota.trial:
        text = "ERR: no version is on trial"
    elif command == b"confirm":
        text = "OK" if ota.confirm() else "ERR: not confirmed: see the board's log"
    else:
        from .. import trial

        try:
            trial.go_back(ota, "the owner wished it")
            text = "OK"
            restarts = True
        except (OTAError, OSError) as e:
            text = "ERR: %s" % e
    listener.send(text, address)
    if restarts:
        from ..hal import reset

        sleep_ms(_SETTLE_MS)
        reset()
