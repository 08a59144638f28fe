"""goosebit, a server that speaks hawkBit's DDI, for images of applications: for the demonstration
`make demo-hawkbit`, and for tests.

`Goosebit` starts this file as a program, which is goosebit, but for its check of images: it knows
those of SWUpdate and RAUC, and here those of `mpota pack` stand in for them.
"""

import asyncio
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

USER, PASSWORD = "admin@example.org", "a password for the demonstration"
TENANT = "DEFAULT"

_PATIENCE_S = 60


class Goosebit:
    """A goosebit with an empty database in *folder*, from `with` to its end.

    *sleep* is how often it wants to be asked, *auth* how it knows devices: "" for not at all,
    "strict" for those alone whose token it has been told. `url` is what boards ask.
    """

    def __init__(self, folder: Path, sleep: str = "00:00:01", auth: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._environment = os.environ | {
            "GOOSEBIT_DB_URI": f"sqlite://{folder / 'goosebit.sqlite3'}",
            "GOOSEBIT_ARTIFACTS_DIR": str(folder / "artifacts"),
            "GOOSEBIT_POLL_TIME": sleep,
            "GOOSEBIT_LOGGING": json.dumps({"version": 1, "disable_existing_loggers": False}),
            "GOOSEBIT_DEVICE_AUTH__ENABLE": str(bool(auth)),
            "GOOSEBIT_DEVICE_AUTH__MODE": auth or "strict",
        }
        self._token = ""

    def __enter__(self) -> "Goosebit":
        import httpx

        log = (self._folder / "goosebit.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=self._folder,
            env=self._environment,
        )
        assert self._process.stdout
        port = re.match(r"port (\d+)", self._process.stdout.readline())
        if not port:
            raise TimeoutError(f"goosebit has not started, see {log.name}")
        self.address = f"http://127.0.0.1:{port[1]}"
        self.url = f"{self.address}/{TENANT}"
        self._client = httpx.Client(base_url=self.address, timeout=_PATIENCE_S)
        deadline = time.monotonic() + _PATIENCE_S
        while not self._token:
            try:
                login = {"username": USER, "password": PASSWORD}
                self._token = self._client.post("/setup", data=login).json()["access_token"]
            except httpx.TransportError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise TimeoutError(f"goosebit does not answer, see {log.name}") from error
                time.sleep(0.1)
        self._client.headers["authorization"] = f"Bearer {self._token}"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait()

    def call(self, method: str, path: str, **arguments: object) -> dict:
        """Call goosebit's own API; return what it answers."""
        reply = self._client.request(method, f"/api/v1{path}", **arguments)
        reply.raise_for_status()
        return dict(reply.json())

    def upload(self, image: bytes, name: str) -> int:
        """Upload *image* under the file name *name*; return its number."""
        return int(self.call("PUT", "/software", files={"file": (name, image)})["id"])

    def roll_out(self, software: int, feed: str = "default") -> int:
        """Roll out an image to the devices of *feed*; return the roll-out's number."""
        given = {"name": f"software {software}", "feed": feed, "software_id": software}
        return int(self.call("PUT", "/rollouts", json=given)["id"])

    def set(self, device: str, **values: object) -> None:
        """Set *values* of a device, which need not have asked yet."""
        self.call("PUT", "/devices", json={"devices": [device], **values})

    def devices(self) -> dict[str, dict]:
        """Return what is known of each device, by its name."""
        return {device["id"]: device for device in self.call("GET", "/devices")["devices"]}

    def log(self, device: str) -> str:
        """Return what *device* has told of its last deployment."""
        return self.call("GET", f"/devices/{device}/log")["log"] or ""

    def rollout(self, number: int) -> dict:
        """Return a roll-out, with its `success_count` and `failure_count`."""
        rollouts = self.call("GET", "/rollouts")["rollouts"]
        return next(rollout for rollout in rollouts if rollout["id"] == number)


# The program


async def parse_image(file: object) -> dict:
    """Take the place of goosebit's check of images, for one that `mpota pack` has made."""
    from goosebit.db.models import SoftwareImageFormat
    from goosebit.util.version import Version
    from mpota import image

    data = Path(str(file)).read_bytes()
    return {
        "version": Version.parse(image.read(data).manifest.version),
        "compatibility": [{"hw_model": "default", "hw_revision": "default"}],
        "size": len(data),
        "hash": hashlib.sha1(data).hexdigest(),
        "image_format": SoftwareImageFormat.SWU,
    }


async def create_tables() -> None:
    """Make the tables of an empty database, as goosebit has them."""
    from goosebit.db.config import TORTOISE_CONF
    from tortoise import Tortoise

    await Tortoise.init(config=TORTOISE_CONF)
    await Tortoise.generate_schemas()
    await Tortoise.close_connections()


def main() -> None:
    """Serve at a free port, which is told in the first line."""
    import goosebit
    import uvicorn
    from goosebit.updates import swdesc

    swdesc.parse_file = parse_image
    asyncio.run(create_tables())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print("port", listener.getsockname()[1], flush=True)
        config = uvicorn.Config(goosebit.app, log_level="warning")
        uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
