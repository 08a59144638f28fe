"""The board's `time`: the interpreter's own, in a module that machine_timer.py can change."""

from utime import *  # noqa: F403
