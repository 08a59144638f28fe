"""The board's `os`: the interpreter's, with `uname` as the chip's has it."""

from os import *  # noqa: F403


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
