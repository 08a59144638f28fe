"""The one error that a user sees."""


class CommandError(Exception):
    """Say in one line what went wrong and what to do about it; the command exits with status 1."""
