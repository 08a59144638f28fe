"""/ota.json: written when the board is set up; the keys are in docs/SETTINGS.md."""

import errno
import json

from . import log


def read_settings(overrides):
    """Return the settings of /ota.json, a dict, with *overrides* over them.

    The services must come up: a file that is missing or broken is logged and counts as empty. A
    broken one may have had a password, so nobody can update without one until it is mended.
    """
    settings = {}
    is_broken = False
    try:
        with open("/ota.json") as f:
            settings = json.load(f)
        if not isinstance(settings, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as e:
        log.error("ota.json: %r", e)
        is_broken = isinstance(e, ValueError) or e.errno != errno.ENOENT
        settings = {}
    settings.update(overrides)
    if is_broken:
        settings["auth"] = "strict"
    if settings.get("auth", "classic") not in ("classic", "strict"):
        log.error("ota.json: auth is neither classic nor strict: taken as strict")
    return settings
