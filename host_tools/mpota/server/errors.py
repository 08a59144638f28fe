"""Why something that an operator or a program wants is not done, and the HTTP status that says so.

A plain CommandError stands for 400: what was sent makes no sense.
"""

from mpota.errors import CommandError


class RefusedError(CommandError):
    """A CommandError with an HTTP status, and a short name of it for programs."""

    status = 400
    name = "invalid"


class UnauthorizedError(RefusedError):
    """A token or a password is missing or wrong."""

    status, name = 401, "unauthorized"


class ForbiddenError(RefusedError):
    """The operator or the token does not have the scope for this."""

    status, name = 403, "forbidden"


class NewPasswordError(ForbiddenError):
    """The operator must choose another password: somebody else has chosen this one."""

    name = "new password"

    def __init__(self) -> None:
        super().__init__("somebody else knows this password: choose another one")


class NotFoundError(RefusedError):
    """What was named does not exist."""

    status, name = 404, "not found"


class MethodError(RefusedError):
    """The path does not take this method; *allowed* names the methods that it takes."""

    status, name = 405, "method"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"this path takes {allowed}")
        self.allowed = allowed


class ConflictError(RefusedError):
    """What is to be made exists already, or the state of something does not allow the change."""

    status, name = 409, "conflict"


class MeanwhileError(ConflictError):
    """Somebody else has made the same thing, or removed what is needed, at the same moment."""

    def __init__(self) -> None:
        super().__init__("somebody else has changed the same at this moment: look, and try again")


class TooLargeError(RefusedError):
    """The request is larger than what is taken."""

    status, name = 413, "too large"


class TooManyError(RefusedError):
    """Too many wrong passwords were given."""

    status, name = 429, "too many"


class DatabaseError(RefusedError):
    """The database does not answer."""

    status, name = 503, "unavailable"

    def __init__(self) -> None:
        super().__init__("the database does not answer: try again in a minute")


class UnexpectedError(RefusedError):
    """The server has a bug, which its log tells more of."""

    status, name = 500, "unexpected"

    def __init__(self) -> None:
        super().__init__("an unexpected error has happened: the server's log has more of it")
