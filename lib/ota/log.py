"""Log lines on the serial port, as `[ota] E: install app.py: digest mismatch`."""

# 0: errors alone are shown; 1: the steps of an update's life as well.
level = 1


def error(text, *args):
    """Log what went wrong; *args* are filled into *text* by `%`."""
    print("[ota] E:", text % args)


def info(text, *args):
    """Log a step of an update's life."""
    if level:
        print("[ota] I:", text % args)
