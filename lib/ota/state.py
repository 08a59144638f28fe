"""The board's state in a word."""


def state(ota):
    """Return the board's state; docs/SPEC.md lists the words."""
    if ota.trial:
        return "trial"
    if ota.is_alone:
        return "alone"
    if ota.slot and not ota.has_ended:
        return "healthy" if ota.healthy else "idle"
    from . import hal

    return "safe" if hal.get_state()[1] == hal.SAFE else "services"
