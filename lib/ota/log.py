"""Log lines on the serial port, such as `[ota] E: install app.py: digest mismatch`; and by
datagrams to the address in the setting `log_host`.
"""

import sys

# A function that sends a line, or an exception's traceback, by datagrams: see log_host.py; or None.
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
