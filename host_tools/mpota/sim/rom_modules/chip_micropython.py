"""The board's `micropython`: the interpreter's, and what the chip's has beyond."""

from micropython import *  # noqa: F403


def alloc_emergency_exception_buf(size):
    """Accept the size; the interpreter raises in a full heap what it can without."""
