"""/ota.json: written when the board is set up; the keys are in docs/SETTINGS.md."""

import json

from . import log


def read_settings(overrides):
    """Return the settings of /ota.json, a dict, with *overrides* over them.

    A file that is missing or broken is logged and counts as empty: the services must come up.
    """
    settings = {}
    try:
        with open("/ota.json") as f:
            settings = json.load(f)
        if not isinstance(settings, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as e:
        log.error("ota.json: %r", e)
        settings = {}
    settings.update(overrides)
    return settings
