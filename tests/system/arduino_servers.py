"""The servers of ESPhttpUpdate's documentation, as CGI scripts: written anew from their rules.

Each is a function of the environment that a CGI script gets, and gives status, headers and body.
"""

import hashlib
from collections.abc import Callable

from web_site import Page, Request, head

Reply = tuple[str, dict[str, object], bytes]
Script = Callable[[dict[str, str]], Reply]

_ASKED_FOR = (
    "STA_MAC", "AP_MAC", "FREE_SPACE", "SKETCH_SIZE", "SKETCH_MD5", "CHIP_SIZE", "SDK_VERSION",
)  # fmt: skip


def _is_updater(environment: dict[str, str]) -> bool:
    return environment.get("HTTP_USER_AGENT") == "ESP8266-http-Update" and all(
        environment.get(f"HTTP_X_ESP8266_{name}") for name in _ASKED_FOR
    )


def _image(data: bytes) -> Reply:
    return "200 OK", {"x-MD5": hashlib.md5(data).hexdigest(), "Content-Length": len(data)}, data


def sample_of_today(boards: dict[str, tuple[str, bytes]]) -> Script:
    """Return the core's sample: by the version alone; *boards* has MAC → version and image."""

    def script(environment: dict[str, str]) -> Reply:
        if not _is_updater(environment):
            return "403 Forbidden", {}, b"only for ESP8266 updater!\n"
        if environment.get("HTTP_X_ESP8266_MODE") == "spiffs":
            return "404 Not Found", {}, b""
        known = boards.get(environment["HTTP_X_ESP8266_STA_MAC"])
        if known is None:
            return "404 Not Found", {}, b""
        version, data = known
        told = environment.get("HTTP_X_ESP8266_VERSION")
        if told is not None and told != version:
            return _image(data)
        return "304 Not Modified", {}, b""

    return script


def older_sample(boards: dict[str, tuple[str, bytes]]) -> Script:
    """Return the sample before: without a version, the MD5 of what the board runs decides."""

    def script(environment: dict[str, str]) -> Reply:
        if not _is_updater(environment):
            return "403 Forbidden", {}, b"only for ESP8266 updater!\n"
        known = boards.get(environment["HTTP_X_ESP8266_STA_MAC"])
        if known is None:
            return "500 ESP MAC not configured for updates", {}, b""
        version, data = known
        told = environment.get("HTTP_X_ESP8266_VERSION")
        differs = environment["HTTP_X_ESP8266_SKETCH_MD5"] != hashlib.md5(data).hexdigest()
        if told != version if told is not None else differs:
            return _image(data)
        return "304 Not Modified", {}, b""

    return script


def run(script: Script) -> Page:
    """Return a page that runs *script* for each request, as a web server does."""

    def page(connection, request: Request) -> None:
        path, _, query = request.path.partition("?")
        environment = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": request.version,
        }
        for name, value in request.headers.items():
            environment["HTTP_" + name.upper().replace("-", "_")] = value
        status, headers, body = script(environment)
        connection.sendall(head(status, **headers) + body)

    return page
