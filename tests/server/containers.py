"""What deploy/ has, run as docker compose and systemd would run it: by test_deploy.py.

Started as `python containers.py compose|systemd FOLDER` in new namespaces for network, mounts and
processes. Each service of the docker-compose.yml gets a network namespace of its own in the network
that the file describes, with the names and the addresses of the others, and its volumes; what runs
in it is this computer's PostgreSQL, Python and nginx. Prints a line of JSON for each fact.
"""

import contextlib
import http.client
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import postgresql
import yaml
from asking import Desk, board_headers, release_image
from mpota.server.database import Database

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PATIENCE_S = 60
PASSWORD, SECRET = "of-the-database", "of-all"
# What ${NAME}, ${NAME:-default} and ${NAME:?message} become.
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def tell(what: str, value: object) -> None:
    sys.stdout.write(json.dumps([what, value]) + "\n")
    sys.stdout.flush()


def until(is_so, patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if is_so():
                return
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.1)


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr)


def get(host: str, port: int, path: str, **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read(), reply.headers


def programs(folder: Path) -> Path:
    """Make a folder with `mpota` of these sources, and a `pip` that writes down what it is told."""
    folder.mkdir()
    for name, text in (
        ("mpota", f'PYTHONPATH={ROOT}/host_tools exec {sys.executable} -m mpota "$@"'),
        ("pip", f'for word; do echo "$word"; done > {folder}/pip.told'),
    ):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return folder


def interpolated(value: Any, environment: dict[str, str]) -> Any:
    """Put the environment into the texts of a compose file, as docker compose does."""
    if isinstance(value, dict):
        return {k: interpolated(v, environment) for k, v in value.items()}
    if isinstance(value, list):
        return [interpolated(v, environment) for v in value]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if not environment.get(name):
            if kind == "-":
                return str(text)
            raise KeyError(f"{name}: {text}")
        return environment[name]

    return _VARIABLE.sub(replace, value)


class Composition:
    """The services of deploy/docker-compose.yml, with files in *folder*."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        text = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
        self.folder = folder
        self.services = interpolated(text, environment)["services"]
        (network,) = text["networks"]["default"]["ipam"]["config"]
        self._net, _, self._bits = network["subnet"].partition("/")
        self.addresses = {}
        free = iter(range(2, 10))
        for name, service in self.services.items():
            networks = service.get("networks") or {}
            given = (networks.get("default") or {}).get("ipv4_address")
            self.addresses[name] = given or f"{self._net.rpartition('.')[0]}.{next(free)}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def set_up(self) -> None:
        """Make the network, and for each service its end of it."""
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "br0", "type", "bridge")
        run("ip", "addr", "add", f"{self._net.rpartition('.')[0]}.1/{self._bits}", "dev", "br0")
        run("ip", "link", "set", "br0", "up")
        hosts = "".join(f"{address} {name}\n" for name, address in self.addresses.items())
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        for number, (name, address) in enumerate(self.addresses.items()):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0",
                "netns", name)  # fmt: skip
            run("ip", "link", "set", f"v{number}", "master", "br0", "up")
            run("ip", "-n", name, "addr", "add", f"{address}/{self._bits}", "dev", "eth0")
            for device in ("lo", "eth0"):
                run("ip", "-n", name, "link", "set", device, "up")

    def command(self, name: str, *words: str, cwd: str = "/") -> list[str]:
        """Give the command that runs *words* in a service, with its volumes."""
        mounts = [
            "mount -t tmpfs tmpfs /run",
            "mkdir -m 777 /run/postgresql",
            f"mount --bind {self.folder / 'hosts'} /etc/hosts",
        ]
        for volume in self.services[name].get("volumes", []):
            source, target, *options = volume.split(":")
            path = DEPLOY / source if source.startswith(".") else self.volume(source)
            if not Path(target).exists():
                mounts += [f"mount -t tmpfs tmpfs {Path(target).parent}", f"mkdir {target}"]
            mounts.append(f"mount --bind {path} {target}")
            if "ro" in options:
                mounts.append(f"mount -o remount,ro,bind {target}")
        script = f"{' && '.join(mounts)} && cd {cwd} && exec {shlex.join(words)}"
        return ["ip", "netns", "exec", name, "unshare", "--mount", "sh", "-c", script]

    def volume(self, name: str) -> Path:
        """Give the folder of a named volume."""
        path = self.folder / name
        if not path.exists():
            path.mkdir()
            path.chmod(0o755)
        return path

    def start(self, name: str, *words: str, path: str = "", **options: Any) -> None:
        """Start *words* in a service with its environment."""
        environment = {"PATH": path or os.environ["PATH"], "LANG": "C.UTF-8"}
        environment |= self.services[name].get("environment", {})
        log = (self.folder / f"{name}.log").open("wb")
        self._running[name] = subprocess.Popen(
            self.command(name, *words), env=environment, stdout=log, stderr=log, **options
        )
        log.close()

    def is_healthy(self, name: str) -> bool:
        """Run a service's own check of its health."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        # What runs in the service is the last of the programs that started each other in its place.
        inside = ["nsenter", "--target", str(self._running[name].pid), "--mount", "--net"]
        return not subprocess.run([*inside, *words], stdout=sys.stderr).returncode

    def stop(self, name: str, patience_s: float = PATIENCE_S) -> int:
        """Stop a service as docker does; return its exit status."""
        self._running[name].terminate()
        return self._running.pop(name).wait(patience_s)

    def log(self, name: str) -> str:
        """Give what a service has said."""
        return (self.folder / f"{name}.log").read_text()


def start_database(composition: Composition) -> None:
    """Do what PostgreSQL's image does by its environment, with this computer's PostgreSQL."""
    wanted = composition.services["database"]["environment"]
    password = composition.folder / "password"
    password.write_text(wanted["POSTGRES_PASSWORD"])
    password.chmod(0o644)
    data = composition.volume("database")
    run("chown", "nobody", data, password)
    postgres = postgresql.find()
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    # It lies where only root may look.
    composition.folder.chmod(0o755)
    run("mount", "--bind", composition.folder, "/mnt")
    made = [postgres / "initdb", "-D", "/mnt/database", "-U", wanted["POSTGRES_USER"]]
    made += ["-A", "scram-sha-256", "--pwfile", "/mnt/password", "-N"]
    subprocess.run(made, check=True, stdout=sys.stderr, cwd="/", **user)
    with (data / "pg_hba.conf").open("a") as file:
        file.write("host all all all scram-sha-256\n")
    server = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    server += [str(postgres / "postgres"), "-D", "/var/lib/postgresql/data", "-F"]
    composition.start("database", *server, "-c", "listen_addresses=*", "-k", "/run/postgresql")
    until(lambda: composition.is_healthy("database"))
    url = f"postgresql://{wanted['POSTGRES_USER']}:{wanted['POSTGRES_PASSWORD']}"
    url += f"@{composition.addresses['database']}"
    database = Database(f"{url}/postgres")
    engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {wanted['POSTGRES_USER']}")
    database.close()


def compose(folder: Path) -> None:
    """Run the services of the compose file, and let a board and an operator's browser ask."""
    environment = {"POSTGRES_PASSWORD": PASSWORD, "MPOTA_FLEET_SECRET": SECRET}
    composition = Composition(folder, environment)
    composition.set_up()
    start_database(composition)
    bin_folder = programs(folder / "bin")
    command = shlex.split(composition.services["server"]["command"])
    composition.start("server", *command, path=f"{bin_folder}:{os.environ['PATH']}")
    until(lambda: "serving /srv/mpota" in composition.log("server"))
    tell("pip", (bin_folder / "pip.told").read_text().split())
    composition.start("nginx", "nginx", "-g", "daemon off;")  # as nginx's image does
    host, port = composition.addresses["nginx"], 8000
    assert composition.services["nginx"]["ports"] == [f"{port}:{port}"]
    until(lambda: get(host, port, "/ready")[0] == 200)

    url = composition.services["server"]["environment"]["MPOTA_DATABASE"]
    database = Database(url.replace("@database/", f"@{composition.addresses['database']}/"))
    desk = Desk(database, composition.volume("files"))
    image = release_image(2)
    tell("without the secret", get(host, port, "/update", **board_headers(1))[0])
    told = board_headers(1, x_mpota_secret=SECRET)
    tell("pending", get(host, port, "/update", **told)[0])
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE boards SET state = 'accepted'")
        rows = connection.exec_driver_sql("SELECT mac, address FROM boards").fetchall()
        tell("boards", [list(row) for row in rows])
    desk.roll_out(desk.add(image))
    # Each worker of the server learns of the release at a moment of its own.
    replies = []
    until(lambda: replies.append(get(host, port, "/update", **told)) or replies[-1][0] == 200)
    status, body, headers = replies[-1]
    tell("the image", [status, body == image, headers["Content-Length"] == str(len(image))])
    server = composition.addresses["server"]
    until(lambda: replies.append(get(server, port, "/update", **told)) or replies[-1][0] == 200)
    direct = replies[-1]
    tell("from nginx", [direct[0], direct[1] == b"", bool(direct[2]["X-Accel-Redirect"])])
    tell("the page", get(host, port, "/login")[0])
    tell("metrics", get(host, port, "/metrics")[0])
    lines = [line for line in composition.log("server").splitlines() if line.startswith("{")]
    tell("log", [json.loads(line)["event"] for line in lines if "5CCF7F000001" in line][:1])
    grace = composition.services["server"]["stop_grace_period"]
    tell("ended", composition.stop("server", float(grace.removesuffix("s"))))
    desk.database.close()


@contextlib.contextmanager
def unit(folder: Path) -> Iterator[dict[str, list[str]]]:
    """Give what the unit of systemd says, where its program and its folders are as it has them."""
    for path in ("/opt", "/var/lib"):
        run("mount", "-t", "tmpfs", "tmpfs", path)
    Path("/opt/mpota").mkdir()
    programs(Path("/opt/mpota/bin"))
    run("ip", "link", "set", "lo", "up")
    said: dict[str, list[str]] = {}
    for line in (DEPLOY / "mpota.service").read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            said.setdefault(name, []).append(value)
    yield said


def systemd(folder: Path) -> None:
    """Judge the unit by systemd's own tool; run its command in what it leaves to the server."""
    with unit(folder) as said:
        judged = subprocess.run(
            ["systemd-analyze", "verify", str(DEPLOY / "mpota.service")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        tell("verify", [judged.returncode, judged.stdout + judged.stderr])
        (state,) = said["StateDirectory"]
        Path("/var/lib", state).mkdir()
        # ProtectSystem=strict and PrivateTmp: all else cannot be written to.
        run("mount", "-t", "tmpfs", "tmpfs", f"/var/lib/{state}")
        run("mount", "-o", "remount,ro,bind", "/")
        if not Path(sys.executable).is_relative_to("/tmp"):  # a checkout there is still needed
            run("mount", "-t", "tmpfs", "tmpfs", "/tmp")
        (command,) = said["ExecStart"]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}
        process = subprocess.Popen(
            shlex.split(command), env=environment, cwd="/", stdout=sys.stderr, stderr=sys.stderr
        )
        until(lambda: get("127.0.0.1", 8000, "/ready")[0] == 200)
        tell("pending", get("127.0.0.1", 8000, "/update", **board_headers(1))[0])
        process.terminate()
        (grace,) = said["TimeoutStopSec"]
        tell("ended", process.wait(float(grace)))
        tell("written", sorted(path.name for path in Path("/var/lib", state).iterdir()))


if __name__ == "__main__":
    {"compose": compose, "systemd": systemd}[sys.argv[1]](Path(sys.argv[2]))
