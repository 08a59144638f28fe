"""Log lines on the serial port, as `[ota] E: install app.py: digest mismatch`; and by datagrams,
where the setting `log_host` says to whom.
"""

import sys

# What sends a line, or the traceback of an exception: see log_host.py. None: nothing does.
sender = None


def error(text, *args):
    """Log what went wrong; *args* are filled into *text* by `%`."""
    _log("[ota] E:", text % args)


def info(text, *args):
    """Log a step of an update's life."""
    _log("[ota] I:", text % args)


def trace(e):
    """Log the traceback of *e*."""
    sys.print_exception(e)
    if sender:
        sender(e)


def _log(mark, line):
    print(mark, line)
    if sender:
        sender(mark + " " + line)
