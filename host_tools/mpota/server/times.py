"""How the page and `mpota fleet` write times."""

import time


def ago(moment: float | None) -> str:
    """Tell how long ago *moment* was, in seconds since 1970; None is never."""
    if moment is None:
        return "never"
    seconds = max(0, int(time.time() - moment))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def moment(seconds: float | None) -> str:
    """Write a time, in seconds since 1970, in this computer's time zone; None is an empty text."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(seconds))
