"""What the buttons of the update page do. Protocol: docs/SPEC.md.

RAM: about 0.4 KB while loaded, beside what does it.
"""

from micropython import const

from .. import log
from ..errors import OTAError

_RUNNING = const(15)


def act(connection, method, path, query, fields):
    """Confirm, reject, revert or restart, as *path* ends."""
    code, text, restarts = _act(connection.web.ota, path[8:])
    try:
        yield from connection.say(code, text)
        if restarts:
            yield from connection.linger()
    finally:  # even when the client has gone: the record says already what is to run
        if restarts:
            log.info("web: restart")
            from ..hal import reset

            reset()


def _act(ota, action):
    # Returns the HTTP status, the text of the answer, and whether the board restarts afterwards.
    if ota.is_updating:
        return 409, str(OTAError(_RUNNING)), False
    if not ota.trial and action in (b"confirm", b"reject"):
        return 409, "no version is on trial", False
    if action == b"confirm":
        if ota.confirm():
            return 200, "confirmed", False
        return 409, "not confirmed: see the board's log", False
    if action != b"restart":
        from .. import trial

        try:
            trial.go_back(ota, "the owner wished it")
        except OTAError as e:
            return 409, str(e), False
        except OSError as e:
            return 500, "the flash has failed: %s" % e, False
    return 200, "the board restarts", True
