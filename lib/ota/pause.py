"""The pause after failed transfers on a board without a password: strangers must not wear out its
flash, whichever service they use. Loaded with a transfer.

RAM: about 200 bytes while loaded.
"""

from micropython import const
from utime import ticks_diff, ticks_ms

from .clock import after

# So many failures in a row are free; the next brings a pause, which each more doubles.
_FREE_FAILURES = const(2)
_PAUSE_MS = const(1000)
_MAX_PAUSE_MS = const(64000)


def note(listener, succeeded):
    """Count a transfer that has ended, at *listener*, the board's ArduinoOTA.

    One of a host that has proved a password counts as one that has *succeeded*.
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
    # A pause in the far future is one of the past: ticks come round after 12 days.
    return left_ms // 1000 + 1 if 0 < left_ms <= _MAX_PAUSE_MS else 0
