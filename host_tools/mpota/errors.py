"""The errors that a user sees."""


class CommandError(Exception):
    """Say in one line what went wrong and what to do about it; the command exits with status 1."""


class DamagedImageError(CommandError):
    """Say why a file is not a good application image."""

    def __init__(self, what: str):
        super().__init__(f"not a good application image, {what}: pack the application again")
