"""The settings of a board, /ota.json, as the host writes them; docs/SETTINGS.md lists them."""

import difflib
import hashlib
import json
import re
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mpota.errors import CommandError

# User and realm of the update page's login: RFC 7616, section 3.4.2.
_WEB_USER = _WEB_REALM = "mpota"

_HASHES = ("password_hash", "password_sha256")
_LOGIN_HASHES = ("web_ha1_md5", "web_ha1_sha256")
_FROM_PASSWORD = (*_HASHES, *_LOGIN_HASHES)
_PASSWORDS = ("password", "web_password")
_TOKENS = ("ddi_target_token", "ddi_gateway_token")
_SECRET = ("key", *_PASSWORDS, *_FROM_PASSWORD, "update_password", *_TOKENS)
_TEXTS = {
    "ssid": (1, 32),
    "key": (8, 64),
    "password": (1, 64),
    "app": (1, 32),
    "log_host": (7, 21),
    "web_user": (1, 32),
    "web_password": (1, 64),
    "update_url": (1, 512),
    "update_user": (1, 64),
    "update_password": (1, 64),
    "ddi_url": (1, 256),
    "ddi_id": (1, 64),
    "ddi_target_token": (1, 128),
    "ddi_gateway_token": (1, 128),
}
_INTEGERS = {"port": (1, 65535), "web_port": (1, 65535), "step_ms": (0, 10000)}
_NUMBERS = {"confirm_s": (0, 86400), "trial_s": (1, 500000), "update_interval_s": (1, 604800)}
_CHOICES = {"auth": ("classic", "strict"), "update_redirects": ("none", "strict", "force")}
_SWITCHES = (
    "legacy_signatures",
    "allow_downgrade",
    "reboot_on_success",
    "restart_for_update",
    "web",
    "mdns",
)
_NAMES = ("hostname", *_TEXTS, *_INTEGERS, *_NUMBERS, *_SWITCHES, *_CHOICES, "safe_pins")
# How alike an unknown name and one of these may be, from 0 to 1, before it counts as misspelt.
_ALIKE = 0.85
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?")
_HOST_NAME_LIMIT = 32

# Letters and digits, without those that are easily confused.
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP = 4, 4


def new_password() -> str:
    """Return a random password of 79 bits: four groups of letters and digits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def derived(password: str, user: str = _WEB_USER) -> dict[str, str]:
    """Return the settings that a board stores instead of *password*.

    The two handshakes need them, and the login of *user* to the update page.
    """
    return {
        "password_hash": hashlib.md5(password.encode()).hexdigest(),
        "password_sha256": hashlib.sha256(password.encode()).hexdigest(),
    } | _login(user, password)


def _login(user: str, password: str) -> dict[str, str]:
    login = f"{user}:{_WEB_REALM}:{password}".encode()
    return {
        "web_ha1_md5": hashlib.md5(login).hexdigest(),
        "web_ha1_sha256": hashlib.sha256(login).hexdigest(),
    }


def for_board(
    settings: Mapping[str, object], present: Mapping[str, object] = MappingProxyType({})
) -> dict[str, object]:
    """Check *settings*, and return them as a board stores them: without passwords.

    *present* are the settings that the board has already. Raises CommandError, which names the
    wrong setting and never shows the value of a secret.
    """
    for name, value in settings.items():
        _check(name, value)
    result = {name: value for name, value in settings.items() if value not in (None, "")}
    passwords = {name: result.pop(name) for name in _PASSWORDS if name in result}
    user = str(result.get("web_user") or present.get("web_user") or _WEB_USER)
    if "web_user" in result and not passwords:
        raise CommandError(
            "the setting web_user needs the password as well, since the board stores a hash of "
            "both: give password, or web_password"
        )
    if "password" in passwords:
        result |= derived(str(passwords["password"]), user)
    if "web_password" in passwords:
        result |= _login(user, str(passwords["web_password"]))
    return result


def changed(
    present: Mapping[str, object], changes: Mapping[str, object | None]
) -> dict[str, object]:
    """Return the settings *present* of a board with *changes*; None removes a setting.

    Raises CommandError as for_board() does, and where a setting cannot be removed because a hash of
    it stays that needs the password to be made again.
    """
    if "password" in changes:
        present = without_password(present)
    removed = {name for name, value in changes.items() if value is None}
    given = {name: value for name, value in changes.items() if name not in removed}
    kept = {name: value for name, value in present.items() if name not in removed}
    if not any(name in given for name in _PASSWORDS):
        if "web_password" in removed and _has_login(kept):
            if any(kept.get(name) for name in _HASHES):
                raise CommandError(
                    "the setting web_password cannot be removed alone, since the board stores "
                    "its password as hashes, of which the page's login cannot be made: give "
                    "password or web_password with a value as well"
                )
            kept = {name: value for name, value in kept.items() if name not in _LOGIN_HASHES}
        if "web_user" in removed and "web_user" in present and _has_login(kept):
            raise CommandError(
                "the setting web_user cannot be removed alone, since the board stores a hash of "
                "the user and the password: give password or web_password with a value as well"
            )
    return kept | for_board(given, kept)


def _has_login(settings: Mapping[str, object]) -> bool:
    return any(settings.get(name) for name in _LOGIN_HASHES)


def without_password(settings: Mapping[str, object]) -> dict[str, object]:
    """Return *settings* without those that are made of a password."""
    return {k: v for k, v in settings.items() if k not in (*_FROM_PASSWORD, *_PASSWORDS)}


def has_password(settings: Mapping[str, object]) -> bool:
    """Whether a board with *settings* asks for a password."""
    return any(settings.get(name) for name in (*_FROM_PASSWORD, "password"))


def shown(settings: Mapping[str, object]) -> dict[str, str]:
    """Return *settings* as texts for people; those of secrets do not show the value."""
    texts = {}
    for name, value in settings.items():
        if name in _FROM_PASSWORD:
            texts["password"] = "(set, not shown)"
        elif name in _SECRET:
            texts[name] = "(set, not shown)" if value else "(none)"
        else:
            texts[name] = value if isinstance(value, str) else json.dumps(value)
    return texts


def is_secret(name: str) -> bool:
    """Whether the value of the setting *name* must not be shown."""
    return name in _SECRET


def parse(name: str, text: str) -> object:
    """Return the value of *text*, from a command line, for the setting *name*.

    For a setting that is a text, this is *text* itself; otherwise *text* is read as JSON, if it is
    JSON. Raises CommandError for a wrong value.
    """
    value: object = text
    if name not in (*_TEXTS, *_SECRET, "hostname", *_CHOICES):
        try:
            value = json.loads(text)
        except ValueError:
            value = text
    _check(name, value)
    return value


def read_file(path: Path) -> dict[str, object]:
    """Return the settings in *path*, TOML such as `ssid = "garden"`. Raises CommandError."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The error's own text may hold a line with a secret: only the line's number is shown.
        where = re.search(r"at line \d+", str(error))
        raise CommandError(
            f"{path} is not TOML{f' ({where[0]})' if where else ''}: write lines like "
            'ssid = "garden"'
        ) from None
    for name, value in settings.items():
        _check(name, value, f" in {path}")
    return settings


def read_json(data: bytes) -> dict[str, object]:
    """Return the settings of a board's /ota.json. Raises CommandError."""
    try:
        settings = json.loads(data)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        raise CommandError(
            "the board's /ota.json is damaged: write a new one with 'mpota flash --keep-firmware'"
        )
    return settings


def to_json(settings: Mapping[str, object]) -> bytes:
    """Return /ota.json with *settings*.

    No character is escaped: those outside of Unicode's first 65,536 would become a pair of escapes,
    which MicroPython cannot read.
    """
    return json.dumps(settings, indent=1, ensure_ascii=False).encode() + b"\n"


def numbered(hostname: str, number: int, last: int) -> str:
    """Return *hostname* with a number behind it, of as many digits as *last* has.

    Raises CommandError when it becomes too long.
    """
    name = f"{hostname}-{number:0{len(str(last))}d}"
    _check("hostname", name)
    return name


def _check(name: str, value: object, where: str = "") -> None:
    problem = _problem(name, value)
    if problem:
        # Of a misspelt name, the value may be a secret as well.
        is_shown = name in _NAMES and name not in _SECRET and isinstance(value, str | int | float)
        said = f" ({value})" if is_shown else ""
        raise CommandError(f"the setting {name}{where} {problem}{said}: correct it")


def _problem(name: str, value: object) -> str | None:
    if value is None or (value == "" and name != "hostname"):
        return None
    if name in _TEXTS:
        least, most = _TEXTS[name]
        if not isinstance(value, str):
            return "must be a text"
        if not least <= len(value.encode()) <= most:
            return f"must have {least} to {most} characters"
    elif name == "hostname":
        if not isinstance(value, str) or not _HOST_NAME.fullmatch(value):
            return f"must have 1 to {_HOST_NAME_LIMIT} letters, digits and hyphens between them"
    elif name in _NUMBERS or name in _INTEGERS:
        least, most = (_NUMBERS | _INTEGERS)[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "must be a number"
        if name in _INTEGERS and not isinstance(value, int):
            return "must be a whole number"
        if not least <= value <= most:
            return f"must be from {least} to {most}"
    elif name in _SWITCHES:
        if not isinstance(value, bool):
            return "must be true or false"
    elif name in _CHOICES:
        *others, last = _CHOICES[name]
        if value not in _CHOICES[name]:
            return f"must be {', '.join(others)} or {last}"
    elif name in _FROM_PASSWORD:
        return "is made of the password: give the password instead"
    elif name == "safe_pins":
        is_right = isinstance(value, dict) and all(
            pin.isdigit() and int(pin) <= 16 and level in (0, 1) for pin, level in value.items()
        )
        if not is_right:
            return 'must be pins from 0 to 16 with levels 0 or 1, like {"5": 0}'
    elif not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        return "has a wrong name: use letters, digits and _"
    elif alike := difflib.get_close_matches(name, _NAMES, 1, _ALIKE):
        return f"is not known, but {alike[0]} is"
    return None
