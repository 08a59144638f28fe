"""A client of a server's API, for `mpota fleet`; it needs Python's own library alone."""

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpota.errors import CommandError

_TIMEOUT_S = 60
_NO_CONTENT = 204  # the HTTP status of an answer without a body


class CallError(CommandError):
    """The server has refused a call; `name` is its short name for the reason."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Client:
    """Calls the API of the server at *url*, with *token*."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url.rstrip("/")
        if not _is_address(self.url):
            raise CommandError(f"{url!r} is no address of a server: give one as http://HOST:8000")
        if not (token.isascii() and token.isprintable()):
            raise CommandError(
                "the token has characters that cannot be in a token: give it without line ends, as "
                "it was shown"
            )
        self._token = token

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        data: bytes | None = None,
        query: Mapping[str, object] | None = None,
    ) -> Any:
        """Call an operation and return its answer. Raises CommandError with the server's words."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        elif data is not None:
            headers["Content-Type"] = "application/octet-stream"
        told = urllib.parse.urlencode({k: v for k, v in (query or {}).items() if v != ""})
        request = urllib.request.Request(
            f"{self.url}/api{path}{'?' if told else ''}{told}", data, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:
                return None if reply.status == _NO_CONTENT else json.loads(reply.read())
        except urllib.error.HTTPError as error:
            raise _refused(error) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise CommandError(f"{self.url} does not answer ({reason}): is it running?") from error
        except http.client.IncompleteRead as error:
            raise CommandError(
                f"the answer of {self.url} ended before it was complete: try again"
            ) from error
        except (http.client.HTTPException, ValueError) as error:
            raise CommandError(
                f"{self.url} is not the address of a server of mpota serve: give one as "
                "http://HOST:8000"
            ) from error


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        # Reading the port raises ValueError for one that is no number from 0 to 65535.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _refused(error: urllib.error.HTTPError) -> CommandError:
    try:
        told = json.loads(error.read())
        message, name = str(told["message"]), str(told["error"])
    except (ValueError, KeyError, TypeError, OSError, http.client.HTTPException):
        return CommandError(
            f"the server answers {error.code} {error.reason}: is it one of mpota serve?"
        )
    return CallError(message, name)


def login_file() -> Path:
    """Return the file in which `mpota fleet login` keeps the server's address and the token."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "mpota" / "fleet.json"


def keep_login(url: str, token: str) -> Path:
    """Keep a server's address and a token where this user alone can read them; return the file."""
    path = login_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump({"server": url, "token": token}, file)
    return path


def kept_login() -> tuple[str, str]:
    """Return the server's address and the token that were kept; empty texts without a login."""
    try:
        kept = json.loads(login_file().read_text())
        return str(kept["server"]), str(kept["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""
