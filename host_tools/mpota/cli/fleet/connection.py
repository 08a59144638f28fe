"""The server that `mpota fleet` speaks to: its options name it, or else the last login does."""

from collections.abc import Iterator
from typing import Any

from mpota.errors import CommandError
from mpota.server.client import CallError, Client, kept_login
from mpota.server.errors import UnauthorizedError

_PAGE = 500  # entries of a list in one call of the API


class _Chosen:
    server = ""
    token = ""


class _ByToken(Client):
    """A client whose error for a missing or wrong token tells how to get one."""

    def call(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().call(*arguments, **options)
        except CallError as error:
            if error.name != UnauthorizedError.name:
                raise
            raise CallError(
                f"{error}: log in with 'mpota fleet login URL', or give MPOTA_TOKEN", error.name
            ) from error


def choose(server: str, token: str) -> None:
    """Take the address and the token of the command line; an empty text means the kept login's.

    The kept token goes to the server that gave it, and to no other.
    """
    kept_server, kept_token = kept_login()
    _Chosen.server = server or kept_server
    _Chosen.token = token or (kept_token if _Chosen.server == kept_server else "")


def pages(path: str, key: str, **query: object) -> Iterator[dict[str, Any]]:
    """Return all entries of a list of the API, the newest first: those under *key*."""
    server = client()
    while True:
        page = server.call("GET", path, query={"limit": _PAGE} | query)
        yield from page[key]
        if page["next"] is None:
            return
        query["before"] = page["next"]


def client() -> Client:
    """Return a client of the chosen server's API. Raises CommandError where none is known."""
    if not _Chosen.server:
        raise CommandError("no server is known: run 'mpota fleet login URL', or give MPOTA_SERVER")
    return _ByToken(_Chosen.server, _Chosen.token)
