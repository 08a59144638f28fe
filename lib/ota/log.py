"""Log lines on the serial port, as `[ota] E: install app.py: digest mismatch`."""


def error(text, *args):
    """Log what went wrong; *args* are filled into *text* by `%`."""
    print("[ota] E:", text % args)


def info(text, *args):
    """Log a step of an update's life."""
    print("[ota] I:", text % args)
