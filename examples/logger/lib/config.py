"""The settings of this application, /data/config.json: they survive every update."""

import json
import os

_PATH = "/data/config.json"


def load():
    """Return the settings; the file is made with what it may contain where there is none."""
    settings = {"title": "logger", "port": 8080, "period_s": 2, "keep": 60}
    try:
        with open(_PATH) as f:
            settings.update(json.load(f))
    except (OSError, ValueError):
        try:
            os.mkdir("/data")
        except OSError:
            pass  # it is there
        with open(_PATH, "w") as f:
            json.dump(settings, f)
    return settings
