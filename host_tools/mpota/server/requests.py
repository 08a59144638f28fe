"""What the API, the page and the boards' endpoint read of a request alike."""

import ipaddress
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from mpota.server.errors import TooLargeError


def address_of(scope: Scope, proxies: tuple[str, ...]) -> str:
    """Return the IP address that a request comes from.

    Where it comes from one of *proxies*, the last address in its X-Forwarded-For counts.
    """
    client: Any = scope.get("client")
    address = str(client[0]) if client else ""
    if address in proxies:
        told = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")
        forwarded = told.rpartition(",")[2].strip()
        try:
            return str(ipaddress.ip_address(forwarded))
        except ValueError:
            return address
    return address


async def read_body(request: Request, limit: int) -> bytes:
    """Read a request's body. Raises TooLargeError where it has more than *limit* bytes."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLargeError(f"the body may have {limit} bytes at most")
        chunks.append(chunk)
    return b"".join(chunks)
