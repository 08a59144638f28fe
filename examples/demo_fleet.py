"""A fleet takes a release, and takes a broken one back by itself: run by `make demo-fleet`.

Starts a server and ten simulated boards with garden 1.0.0, which ask it for updates. Release 2.0.0
is rolled out to 30 % of them, then to all. Release 3.0.0 is broken on purpose: the boards that get
it take it back, and the server stops the roll-out. With `--pictures FOLDER`, the server's page is
photographed at the end, which needs Chromium.
"""

import argparse
import contextlib
import http.cookiejar
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from demo import GARDEN, end_with, say
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.image.directory import pack_directory
from mpota.server.client import Client
from mpota.sim import Board, create_flash
from mpota.sim.rom import ARCHITECTURE

BOARDS = 10
PATIENCE_S = 90
PASSWORD = "ten boards and a demo"
# A board in the field asks once an hour, and a version must be healthy there for a minute.
SETTINGS = {"ssid": "simulated", "confirm_s": 1, "update_interval_s": 1}
BROKEN = 'raise OSError("broken on purpose")\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    pictures = parser.parse_args().pictures
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpota-fleet-")))
        images = make_images(folder)
        server = stack.enter_context(Server(folder))
        client = server.log_in(folder)
        boards = start_boards(stack, folder, images[0], server.url)
        wait("ten boards ask", lambda: len(client.call("GET", "/boards")["boards"]) == BOARDS)

        fleet(server, "releases", "add", images[1])
        fleet(server, "rollout", "start", "garden/2.0.0", "--phase", "30/5s", "--phase", "100")
        show_progress(client, 1, lambda rollout: rollout["counts"]["confirmed"] == BOARDS)
        fleet(server, "boards", "list")

        fleet(server, "releases", "add", images[2])
        start = ["rollout", "start", "garden/3.0.0", "--phase", "50/1h", "--phase", "100"]
        fleet(server, *start, "--abort-minimum", "3")
        ended = show_progress(client, 2, lambda rollout: rollout["state"] == "aborted")
        say(f"the roll-out has stopped by itself: {ended['why']}")
        wait("the boards run 2.0.0 again", lambda: all_run(client, "2.0.0"))
        fleet(server, "boards", "list")

        page = look_at_page(server, ended["id"])
        if "The roll-out has stopped by itself" not in page or "broken on purpose" not in page:
            return 1
        say(f"the page {server.url}/rollouts/{ended['id']} shows it")
        if pictures:
            take_pictures(server, pictures, folder)
        if any(board.violation for board in boards):
            return 1
    say("release 2.0.0 runs on all ten boards; 3.0.0 reached a few, and none kept it", mark="")
    return 0


def make_images(folder: Path) -> list[Path]:
    """Pack garden 1.0.0, 2.0.0, and a 3.0.0 that raises."""
    broken = folder / "garden-3.0.0"
    broken.mkdir()
    table = (GARDEN / "2.0.0" / "pyproject.toml").read_text()
    table = table.replace("2.0.0", "3.0.0").replace("sequence = 2", "sequence = 3")
    (broken / "pyproject.toml").write_text(table)
    (broken / "app.py").write_text(f"def main(ota):\n    {BROKEN}")
    made = []
    for source in (GARDEN / "1.0.0", GARDEN / "2.0.0", broken):
        path = folder / f"garden-{source.name.removeprefix('garden-')}.img"
        path.write_bytes(pack_directory(source).data)
        made.append(path)
    return made


class Server:
    """`mpota serve` in *folder*, until the `with` ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "server"
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(folder), "PYTHONUNBUFFERED": "1"}

    def __enter__(self) -> "Server":
        command = [sys.executable, "-m", "mpota", "serve", str(self._folder), "--port", "0"]
        command += ["--bind", "127.0.0.1", "--unknown", "accept"]
        say("mpota serve DIR --unknown accept")
        log = self._folder.with_name("server.log").open("wb")
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment
        )
        assert self._process.stdout
        self._first = self._process.stdout.readline()
        url = None
        while url is None:
            line = self._process.stdout.readline()
            if not line:
                raise TimeoutError("the server has not started")
            url = re.search(r"serving .* at (http://\S+)/;", line)
        self.url = url[1]
        wait("the server answers", self._is_ready)
        return self

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ready"):
                return True
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)

    def log_in(self, folder: Path) -> Client:
        """Log in with the password that the server has printed, and choose another one."""
        password = self._first.split()[-1]
        say(f"mpota fleet login {self.url}")
        subprocess.run(
            [sys.executable, "-m", "mpota", "fleet", "login", self.url],
            input=f"{password}\n{PASSWORD}\n", text=True, check=True, env=self.environment,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        kept = json.loads((folder / "mpota" / "fleet.json").read_text())
        return Client(self.url, kept["token"])


class Browser:
    """Looks at the server's page, without scripts."""

    def __init__(self, url: str) -> None:
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)
        self._url = url

    def get(self, path: str) -> str:
        with self._opener.open(self._url + path, timeout=PATIENCE_S) as reply:
            return str(reply.read().decode())

    def post(self, path: str, **values: str) -> str:
        token = re.search(r'name="csrf" value="([^"]+)"', self.get(path))
        values["csrf"] = token[1] if token else ""
        data = urllib.parse.urlencode(values).encode()
        with self._opener.open(self._url + path, data, timeout=PATIENCE_S) as reply:
            return str(reply.read().decode())

    def log_in(self, password: str) -> None:
        self.post("/login", name="admin", password=password)


def start_boards(stack: contextlib.ExitStack, folder: Path, image: Path, url: str) -> list[Board]:
    """Switch on the boards, each with an address and a chip id of its own."""
    say(f"{BOARDS} simulated boards with garden 1.0.0 are switched on")
    data = image.read_bytes()
    settings = settings_file(SETTINGS | {"update_url": f"{url}/update"})
    files = boot_files() | settings | first_record(data)
    rom = system_rom(ARCHITECTURE)
    boards = []
    for number in range(BOARDS):
        flash = folder / f"board-{number}.img"
        create_flash(flash, files, system=rom, slots={"a": data})
        boards.append(stack.enter_context(Board(flash, ip=f"127.0.1.{121 + number}")))
    return boards


def fleet(server: Server, *arguments: object) -> None:
    """Run `mpota fleet` as an operator does."""
    words = [str(argument) for argument in arguments]
    shown = [Path(word).name if word.endswith(".img") else word for word in words]
    say("mpota fleet " + " ".join(shown))
    command = [sys.executable, "-m", "mpota", "fleet", *words]
    subprocess.run(command, check=True, env=server.environment)


def show_progress(client: Client, number: int, is_over: Callable[[dict], bool]) -> dict:
    """Print how a roll-out goes on, until it is over."""
    said = ""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rollout = client.call("GET", f"/rollouts/{number}")
        counts = rollout["counts"]
        share = rollout["phases"][rollout["phase"]]["percent"]
        line = f"phase {rollout['phase'] + 1}, {share:g} %: {counts['confirmed']} confirmed, "
        line += f"{counts['open']} going on, {counts['reverted']} taken back"
        if line != said:
            say(line, mark="  ")
            said = line
        if is_over(rollout):
            return rollout
        if time.monotonic() > deadline:
            raise TimeoutError(f"the roll-out is not over: {line}")
        time.sleep(0.2)


def all_run(client: Client, version: str) -> bool:
    boards = client.call("GET", "/boards")["boards"]
    return all(board["version"] == version for board in boards)


def look_at_page(server: Server, number: int) -> str:
    browser = Browser(server.url)
    browser.log_in(PASSWORD)
    return browser.get(f"/rollouts/{number}")


def take_pictures(server: Server, target: Path, folder: Path) -> None:
    """Photograph the page of the roll-out that has stopped, on a desk and on a phone."""
    from playwright.sync_api import sync_playwright

    target.mkdir(parents=True, exist_ok=True)
    arguments = ["--no-sandbox", "--disable-gpu", f"--crash-dumps-dir={folder}"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        for name, width, scheme in (("fleet", 960, "light"), ("fleet-phone", 390, "dark")):
            context = chromium.new_context(
                viewport={"width": width, "height": 700}, color_scheme=scheme
            )
            page = context.new_page()
            page.goto(server.url + "/login")
            page.fill("#name", "admin")
            page.fill("#password", PASSWORD)
            page.click("button")
            page.goto(server.url + ("/rollouts/2" if width > 400 else "/"))
            page.screenshot(path=target / f"{name}.png", full_page=True)
        chromium.close()


def wait(what: str, condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds, and say *what* it is then."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come to this: {what}")
        time.sleep(0.2)
    say(what)


if __name__ == "__main__":
    end_with(main)
