"""/ota.json: written when the board is set up; the keys are in docs/SETTINGS.md. RAM: about 1 KB
while loaded, beside the settings themselves.
"""

import uerrno
import ujson
import uos
from micropython import const

from . import log

_PATH = const("/ota.json")
# The settings of the last healthy boot, for a boot that finds none, or broken ones: an application
# that writes to /ota.json may lose its power half-way.
_KEPT = const("/.ota/settings")
_LONGEST = const(4096)  # bytes of a file that is kept

# Name, kind, and the least and the most: of a number, or of the characters of a text. An `integer`
# is a number without a fraction. A `hex` has so many digits. A text or hex may be null.
_KINDS = const("""
ssid text 0 32
key text 0 64
hostname text 1 32
port integer 1 65535
password text 0 64
password_hash hex 32 32
password_sha256 hex 64 64
auth text 1 7
legacy_signatures bool 0 0
allow_downgrade bool 0 0
app text 1 32
reboot_on_success bool 0 0
restart_for_update bool 0 0
web bool 0 0
mdns bool 0 0
log_host text 0 21
web_port integer 1 65535
web_user text 1 32
web_password text 0 64
web_ha1_md5 hex 32 32
web_ha1_sha256 hex 64 64
step_ms integer 0 10000
confirm_s number 0 86400
trial_s number 1 500000
safe_pins pins 0 16
update_url text 0 512
update_interval_s number 1 604800
update_redirects text 4 6
update_user text 0 64
update_password text 0 64
ddi_url text 0 256
ddi_id text 1 64
ddi_target_token text 0 128
ddi_gateway_token text 0 128
""")


def read_settings(given):
    """Return the settings of /ota.json, a dict, with *given* over them.

    The services must start in any case. So if the file is missing or damaged, the copy of the last
    healthy boot is used, or an empty one; and a wrong value is logged and ignored. If the wrong
    value may have been a password, nobody can update the board until it is corrected. A wrong
    `auth` counts as strict.
    """
    settings, is_broken = _read()
    settings.update(given)
    for name in list(settings):
        if not _is_right(name, settings[name]):
            del settings[name]
            if name[:6] != "update":  # what a server wants to know opens nothing here
                is_broken = is_broken or name == "auth" or "password" in name or "ha1" in name
    if is_broken or settings.get("auth", "classic") != "classic":
        settings["auth"] = "strict"
    return settings


def set_safe_pins():
    """Set the pins of the setting `safe_pins`, pin number → 0 or 1. Never raises."""
    from .hal import set_pin

    settings, _ = _read()
    pins = settings.get("safe_pins")
    if pins and _is_right("safe_pins", pins):
        for number in pins:
            try:
                set_pin(int(number), pins[number])
            except ValueError as e:  # the flash chip has this pin
                log.error("ota.json: safe_pins: pin %s: %s", number, e)
        log.info("boot: safe_pins have their levels")


def keep():
    """Keep the settings, with which the board is healthy, unless they are kept already.

    Raises OSError when the flash fails.
    """
    data = _content(_PATH)
    if len(data) < _LONGEST and data != _kept() and _load(_PATH)[1] is None:
        with open(_KEPT, "wb") as f:
            f.write(data)


def _kept():
    try:
        return _content(_KEPT)
    except OSError:
        return None  # what is written next tells whether the flash fails


def _content(path):
    # In a piece of memory that is no longer than the file: there may be no other.
    size = uos.stat(path)[6]
    with open(path, "rb") as f:
        return f.read(min(size, _LONGEST))


def _read():
    # Returns the settings as they are in the file, and whether the file exists and is damaged.
    settings, problem = _load(_PATH)
    if problem is None:
        return settings, False
    log.error("ota.json: %r", problem)
    settings, _ = _load(_KEPT)
    if settings is not None:
        log.error("ota.json: those of the last healthy boot are used")
        return settings, False
    return {}, not isinstance(problem, OSError) or problem.errno != uerrno.ENOENT


def _load(path):
    # Returns (settings, None), or (None, why there are none).
    try:
        with open(path) as f:
            if f.read(1) != "\ufeff":  # a byte order mark, which some editors put before a text
                f.seek(0)
            settings = ujson.load(f)
        if not isinstance(settings, dict):
            raise ValueError("not an object")
        return settings, None
    except (OSError, ValueError, TypeError) as e:  # TypeError: a key that no dict takes
        return None, e


def _is_right(name, value):
    # Returns whether the setting is as it must be, and logs what is wrong. Unknown names belong to
    # the application. This board's json accepts names that are not text.
    start = _KINDS.find("\n%s " % name)
    if start < 0:
        return True
    rule = _KINDS[start + 1 : _KINDS.find("\n", start + 1)].split(" ")
    problem = _problem(rule, value)
    if name == "auth" and problem is None and value not in ("classic", "strict"):
        problem = "must be classic or strict"
    if name == "update_redirects" and problem is None and value not in ("none", "strict", "force"):
        problem = "must be none, strict or force"
    if problem:
        default = "strict" if name == "auth" else "its default"
        log.error("ota.json: %s %s: %s is used", name, problem, default)
    return problem is None


def _problem(rule, value):
    _, kind, least, most = rule
    least = int(least)
    most = int(most)
    if kind == "number" or kind == "integer":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return "must be a number"
        if kind == "integer" and not isinstance(value, int):
            return "must be a number without a fraction"
        if not least <= value <= most:
            return "must be from %d to %d" % (least, most)
    elif kind == "bool":
        if not isinstance(value, bool):
            return "must be true or false"
    elif kind == "pins":
        if not isinstance(value, dict):
            return "must be an object of pins and levels"
        for pin in value:
            if not (str(pin).isdigit() and int(pin) <= most and value[pin] in (0, 1)):
                return "must have pins from 0 to 16 and levels 0 and 1"
    elif value is not None:
        if not isinstance(value, str):
            return "must be a text"
        if not least <= len(value.encode()) <= most:
            return "must have %d to %d characters" % (least, most)
        if kind == "hex":
            for c in value.encode():  # as bytes: each character of a text would become a name
                if c not in b"0123456789abcdefABCDEF":
                    return "must have hex digits only"
    return None
