"""The log of a server: a line of text or of JSON for each event, on stderr."""

import json
import logging
import time
from typing import Any

NAME = "mpota"
# The attributes that every record has; all others were given with the event.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= {k: v for k, v in vars(record).items() if k not in _OWN and v not in (None, "")}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def set_up(kind: str) -> None:
    """Let this process log to stderr; *kind* is "json" or "text"."""
    logger = logging.getLogger(NAME)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if kind == "json" else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
