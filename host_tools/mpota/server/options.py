"""How a server is set up: what `mpota serve` is told, handed on to its workers."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mpota.server.decision import Arduino

ENVIRONMENT = "MPOTA_SERVER_OPTIONS"
# Where several workers keep their figures. It must be there before prometheus_client is imported.
METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
IMAGES = "images"  # the folder of images, in the server's own


@dataclass(frozen=True)
class Options:
    """The options of a server.

    `folder` has the images, and the SQLite database unless `database` is the address of another
    one. `unknown` is what becomes of boards that the server does not know: "pending", "accept" or
    "refuse". With `images_url`, boards are redirected to that address for images; with `accel`, the
    web server before this one sends them. With `board_secrets` every board needs a secret of its
    own; of the fleet's secret the SHA-256 is known. `keys` are files with public keys. `proxies`
    are IP addresses of web servers whose X-Forwarded-For is believed.
    """

    folder: str
    database: str = ""
    unknown: str = "pending"
    pending_limit: int = 10_000
    arduino: str = Arduino.CLASSIC
    images_url: str = ""
    accel: str = ""
    fleet_secret_sha256: str = ""
    board_secrets: bool = False
    keys: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    log: str = "text"
    tick_s: float = 1.0
    flush_s: float = 5.0

    @property
    def database_url(self) -> str:
        """The database's address."""
        return self.database or f"sqlite:///{Path(self.folder) / 'server.db'}"

    @property
    def images(self) -> Path:
        """The folder of images."""
        return Path(self.folder) / IMAGES

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which `from_environment` reads these options."""
        return {ENVIRONMENT: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "Options":
        """Return the options of the server that this worker belongs to."""
        values: dict[str, Any] = json.loads(os.environ[ENVIRONMENT])
        lists = {f.name for f in fields(cls) if isinstance(f.default, tuple)}
        for name in lists:
            values[name] = tuple(values.get(name, ()))
        return cls(**values)
