"""The pause after failed transfers on a board without a password: strangers must not wear out its
flash, whichever service they use. Loaded with a transfer.

RAM: about 200 bytes while loaded.
"""

from micropython import const
from utime import ticks_diff, ticks_ms

from .clock import after

# So many failures in a row have no consequence; the next one causes a pause, and each further one
# doubles it.
_FREE_FAILURES = const(2)
_PAUSE_MS = const(1000)
_MAX_PAUSE_MS = const(64000)


def note(listener, succeeded):
    """Count a transfer that has ended, at *listener*, the board's ArduinoOTA.

    A transfer of a host that has proved the password counts as *succeeded* in any case.
    """
    if succeeded:
        listener.failed_transfers = 0
        return
    listener.failed_transfers += 1
    doubled = listener.failed_transfers - _FREE_FAILURES
    if doubled > 0:
        listener.pause_until = after(min(_PAUSE_MS << min(doubled, 8), _MAX_PAUSE_MS))


def left_s(listener):
    """Return how many seconds of the pause are left, a part counting as one; 0: there is none."""
    if listener.pause_until is None:
        return 0
    left_ms = ticks_diff(listener.pause_until, ticks_ms())
    # Ticks start again after 12 days: a pause that seems to end in the far future is over.
    return left_ms // 1000 + 1 if 0 < left_ms <= _MAX_PAUSE_MS else 0
