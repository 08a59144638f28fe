"""What a form of the page brings: its fields, and the file that is uploaded with it."""

import re
from urllib.parse import parse_qsl

from starlette.requests import Request

from mpota.errors import CommandError
from mpota.server.errors import TooLargeError
from mpota.server.releases import SKETCH_LIMIT_BYTES
from mpota.server.requests import read_body
from mpota.server.shapes import NAME_OR_NONE

_FIELDS_BYTES = 64 << 10  # of a form without a file
_UPLOAD_BYTES = SKETCH_LIMIT_BYTES + _FIELDS_BYTES
_MOST_FIELDS = 40
_LABEL_LIMIT = 64


class Form:
    """The *values* of a form's fields, by their names, and the content of its *file*."""

    def __init__(self, values: dict[str, str], file: bytes = b"") -> None:
        self._values = values
        self.file = file

    def text(self, name: str) -> str:
        """Return a field as it is; one that is missing is empty."""
        return self._values.get(name, "")

    def label(self, name: str) -> str:
        """Return a short text. Raises CommandError for a long one and for control characters."""
        text = self.text(name).strip()
        if len(text) > _LABEL_LIMIT or not text.isprintable():
            raise CommandError(
                f"{name} has {_LABEL_LIMIT} characters at most, without control characters"
            )
        return text

    def name(self, name: str) -> str:
        """Return a name as the API takes it; it may be empty. Raises CommandError."""
        text = self.text(name).strip()
        if not re.fullmatch(NAME_OR_NONE, text):
            raise CommandError(f"{name} has 32 printable ASCII characters at most, without spaces")
        return text

    def choice(self, name: str, values: list[str]) -> str:
        """Return a field that must be one of *values*. Raises CommandError."""
        if self.text(name) not in values:
            raise CommandError(f"{name} must be one of {', '.join(values)}")
        return self.text(name)

    def number(self, name: str) -> int | None:
        """Return a whole number from 1 on; None for an empty field. Raises CommandError."""
        text = self.text(name).strip()
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
            raise CommandError(f"{name} must be a whole number above 0")
        return int(text)

    def decimal(self, name: str, default: float) -> float:
        """Return a number from 0 on; *default* for an empty field. Raises CommandError."""
        text = self.text(name).strip()
        if not text:
            return default
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e9:
            raise CommandError(f"{name} must be a number, not below 0")
        return number


async def read_form(request: Request) -> Form:
    """Read the form that a request brings. Raises CommandError."""
    if _kind(request) == "multipart/form-data":
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > _UPLOAD_BYTES:
            raise TooLargeError(f"the form may have {_UPLOAD_BYTES} bytes at most")
        async with request.form(max_files=1, max_fields=_MOST_FIELDS) as given:
            file = given.get("image")
            data = b"" if file is None or isinstance(file, str) else await file.read()
            return Form({k: v for k, v in given.items() if isinstance(v, str)}, data)
    return await read_fields(request)


async def read_fields(request: Request) -> Form:
    """Read a form without a file. Raises CommandError."""
    if _kind(request) != "application/x-www-form-urlencoded":
        raise CommandError("this is no form")
    data = await read_body(request, _FIELDS_BYTES)
    try:
        fields = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise CommandError("this is no form") from error
    return Form(dict(fields))


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
