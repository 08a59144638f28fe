"""The board's `os`: the interpreter's, with `uname` and `dupterm` as the chip's has them."""

import builtins
import io
import sys

from machine_uart import UART
from os import *  # noqa: F403

_print = print
# What the console is duplicated on. The firmware attaches the serial port to the second place.
_terminals = [None, UART(0)]


def uname():
    # The release is the version of the chip maker's SDK.
    from collections import namedtuple

    named = namedtuple("uname", ("sysname", "nodename", "release", "version", "machine"))
    return named(
        "esp8266",
        "esp8266",
        "2.2.0-dev(9422289)",
        "v1.28.0 on 2026-04-06",
        "ESP module with ESP8266",
    )


def sync():
    pass


def dupterm(stream, index=0):
    """Write what is printed to *stream* as well, or to none; return the stream of before.

    What a stream gives to read is not looked at.
    """
    if index not in (0, 1):
        raise ValueError("invalid dupterm index")
    if stream is not None and not hasattr(stream, "write"):
        raise OSError("stream operation not supported")
    before = _terminals[index]
    _terminals[index] = stream
    if isinstance(before, UART) and stream is None:
        _print("os.dupterm: the console is detached; a chip prints nothing more on its serial port")
    # The name that programs find; without a stream it is the interpreter's own.
    builtins.print = _print_to_all if any(map(_is_stream, _terminals)) else _print
    return before


def dupterm_notify(_):
    pass


def _is_stream(terminal):
    return terminal is not None and not isinstance(terminal, UART)


def _print_to_all(*values, sep=" ", end="\n", file=None):
    if file is not None:
        _print(*values, sep=sep, end=end, file=file)
        return
    _print(*values, sep=sep, end=end)
    text = io.StringIO()
    _print(*values, sep=sep, end=end, file=text)
    data = text.getvalue().replace("\n", "\r\n").encode()
    for index, terminal in enumerate(_terminals):
        if _is_stream(terminal):
            try:
                terminal.write(data)
            except BaseException as e:  # as in the firmware
                _terminals[index] = None
                _print("dupterm: Exception in write() method, deactivating: ", end="")
                sys.print_exception(e)
