"""A board's question: what it tells of itself in the headers of `GET /update` (docs/SPEC.md)."""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mpota.image.manifest import SEQUENCE_LIMIT

USER_AGENT = b"ESP8266-http-Update"
SECRET_HEADER = b"x-mpota-secret"
SKETCH, SPIFFS, VERSION = "sketch", "spiffs", "version"

_MAC = re.compile(rb"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_NUMBER = re.compile(rb"-?[0-9]{1,10}")
_MD5 = re.compile(rb"[0-9A-Fa-f]{32}")
_DATA = re.compile(rb"([0-9a-f]{32,64})?")
_LABEL = re.compile(r"[!-~]{1,32}")
_RANGE = re.compile(rb"bytes=([0-9]{1,10})-([0-9]{0,10})")
# The headers that today's sample server for ESPhttpUpdate insists on, beside the User-Agent.
_INSISTED_ON = tuple(
    b"x-esp8266-" + name
    for name in (
        b"sta-mac", b"ap-mac", b"free-space", b"sketch-size", b"sketch-md5", b"chip-size",
        b"sdk-version",
    )
)  # fmt: skip
_TEXT_LIMIT = 64  # so many characters of a header are kept
_OUTCOME_LIMIT = 200


class NoBoardError(Exception):
    """The request does not come from a board; the text says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a board tells in a request; what it does not tell is None, or empty.

    `mac` has 12 upper-case hex digits, `application` is the path's or else the board's own name for
    it. `range` are the first and the last byte that are wanted, `is_ours` is whether it is a board
    with mpota. `takes_delta` and `takes_gzip` are whether what has changed alone will do, and
    whether a gzip of the image will. `data` is how the SHA-256 of the board's data begins, empty
    where it has none.
    """

    mac: str
    mode: str
    application: str
    is_ours: bool
    version: str | None
    sequence: int | None
    md5: str
    outcome: str
    sdk: str
    free_space: int | None
    chip_size: int | None
    boots: int | None
    heap: int | None
    uptime_s: int | None
    rssi: int | None
    secret: str
    if_none_match: str
    range: tuple[int, int | None] | None
    if_range: str | None
    address: str
    takes_delta: bool = False
    takes_gzip: bool = False
    data: str | None = None

    @property
    def wants_data(self) -> bool:
        """Whether the board asks for data, and not for an application."""
        return self.mode == SPIFFS

    @property
    def fingerprint(self) -> int:
        """A number for all that decides the answer; it differs between processes."""
        return hash(
            (
                self.mode, self.application, self.version, self.sequence, self.md5, self.outcome,
                self.secret, self.data,
            )
        )  # fmt: skip


def read(
    path: str,
    headers: Iterable[tuple[bytes, bytes]],
    address: str,
    insists: bool = False,
) -> Question:
    """Read the question for *path*, the part behind `/update`; names are in lower case.

    With *insists*, all headers must be there that today's sample server insists on. Raises
    NoBoardError.
    """
    told = dict(headers)
    mac = told.get(b"x-esp8266-sta-mac", b"")
    if told.get(b"user-agent") != USER_AGENT or not _MAC.fullmatch(mac):
        raise NoBoardError("only boards are answered here, with the headers of ESPhttpUpdate")
    if insists and not all(name in told for name in _INSISTED_ON):
        raise NoBoardError("headers of ESPhttpUpdate are missing")
    name = _text(told, b"x-mpota-name", _TEXT_LIMIT)
    md5 = told.get(b"x-esp8266-sketch-md5", b"")
    version = told.get(b"x-esp8266-version")
    is_ours = b"x-mpota-sequence" in told
    takes = told.get(b"x-mpota-takes", b"").split()
    data = told.get(b"x-mpota-data", b"none").lower()
    sequence = _number(told, b"x-mpota-sequence") if is_ours else None
    if sequence is not None and not 0 <= sequence <= SEQUENCE_LIMIT:
        sequence = 0
    return Question(
        mac=mac.decode().replace(":", "").upper(),
        mode=_text(told, b"x-esp8266-mode", _TEXT_LIMIT) or SKETCH,
        application=label(path.strip("/")) or label(name),
        is_ours=is_ours,
        version=None if version is None else _text(told, b"x-esp8266-version", _TEXT_LIMIT),
        sequence=sequence,
        md5=md5.decode().lower() if _MD5.fullmatch(md5) else "",
        outcome=_text(told, b"x-mpota-outcome", _OUTCOME_LIMIT),
        sdk=_text(told, b"x-esp8266-sdk-version", _TEXT_LIMIT),
        free_space=_number(told, b"x-esp8266-free-space"),
        chip_size=_number(told, b"x-esp8266-chip-size"),
        boots=_number(told, b"x-mpota-boots"),
        heap=_number(told, b"x-mpota-heap"),
        uptime_s=_number(told, b"x-mpota-uptime"),
        rssi=_number(told, b"x-mpota-rssi"),
        secret=_secret(told),
        if_none_match=_text(told, b"if-none-match", _TEXT_LIMIT),
        range=_range(told),
        if_range=told[b"if-range"].decode("latin-1") if b"if-range" in told else None,
        address=address,
        takes_delta=b"delta" in takes,
        takes_gzip=b"gzip" in takes,
        data=data.decode() if _DATA.fullmatch(data) else None,
    )


def label(text: str) -> str:
    """Return *text* if it can be the name of an application, else an empty text."""
    return text if _LABEL.fullmatch(text) else ""


def _text(told: dict[bytes, bytes], name: bytes, limit: int) -> str:
    # PostgreSQL keeps no text with a NUL, and nobody can read the other control characters.
    text = told.get(name, b"").decode("utf-8", "replace")[:limit]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _number(told: dict[bytes, bytes], name: bytes) -> int | None:
    value = told.get(name, b"")
    if not _NUMBER.fullmatch(value):
        return None
    number = int(value)
    return number if -(2**31) <= number < 2**31 else None


def _range(told: dict[bytes, bytes]) -> tuple[int, int | None] | None:
    match = _RANGE.fullmatch(told.get(b"range", b""))
    return (int(match[1]), int(match[2]) if match[2] else None) if match else None


def _secret(told: dict[bytes, bytes]) -> str:
    if SECRET_HEADER in told:
        return told[SECRET_HEADER].decode("latin-1")
    scheme, _, text = told.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(text, validate=True).decode("latin-1").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
