"""Log lines on the serial port, as `[ota] E: install app.py: digest mismatch`."""

# Lines above this level are not shown. 0: errors, 1: steps of an update's life, 2: all.
level = 1


def error(text, *args):
    """Log what went wrong; *args* are filled into *text* by `%`."""
    print("[ota] E:", text % args)


def info(text, *args):
    """Log a step of an update's life."""
    if level > 0:
        print("[ota] I:", text % args)


def debug(text, *args):
    """Log what only a developer wants to see."""
    if level > 1:
        print("[ota] D:", text % args)
