"""A board asks a server by itself, and takes what it finds there: run by `make demo-pull`.

Starts `mpota serve --simple` and a simulated board that asks it every two seconds. A release is put
into the server's folder, taken and confirmed; a broken one is taken back, and not fetched again;
the power fails in the middle of a large one, which then goes on where it stopped.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo import GARDEN, IP, SETTINGS, end_with, say
from mpota import image
from mpota.board.files import boot_files, first_record, settings_file, system_rom
from mpota.board.flash import read_slot
from mpota.image.directory import pack_directory
from mpota.sim import Board, create_flash
from mpota.sim.address import check_address
from mpota.sim.rom import ARCHITECTURE

# In the field a board asks every hour.
INTERVAL_S = 2
# So many erases and programs of flash are somewhere in the middle of the large release.
CUT_AFTER = 50
LARGE_BYTES = 60_000

_PATIENCE_S = 60


class Server:
    """`mpota serve --simple` for *folder*, from `with` to its end; what it says is shown."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        command = [sys.executable, "-u", "-m", "mpota", "serve", "--simple", str(folder)]
        command += ["--bind", "127.0.0.1", "--port", "0"]
        say("mpota serve --simple releases --bind 127.0.0.1")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # A board that is told again and again that there is nothing is shown once.
            with self._changed:
                is_news = not self.lines or self.lines[-1][9:] != line.rstrip()[9:]
                self.lines.append(line.rstrip())
                self._changed.notify_all()
            if is_news:
                say(line.rstrip(), " server| ")

    def wait_for(self, pattern: str, start: int = 0) -> re.Match[str]:
        """Wait for a line, from line number *start* on, in which *pattern* is found."""
        with self._changed:
            if not self._changed.wait_for(
                lambda: any(re.search(pattern, line) for line in self.lines[start:]), _PATIENCE_S
            ):
                raise TimeoutError(f"the server never said {pattern!r}")
        found = (re.search(pattern, line) for line in self.lines[start:])
        return next(match for match in found if match)


def main(folder: Path) -> int:
    check_address(IP)
    releases = folder / "releases"
    releases.mkdir()
    old = pack_directory(GARDEN / "1.0.0").data
    (releases / "garden-1.0.0.img").write_bytes(old)
    with Server(releases) as server, a_board(folder, old, server) as board:
        server.wait_for("garden 1.0.0 -> 304")
        release(folder, GARDEN / "2.0.0")
        board.wait_for("slot b is confirmed")
        server.wait_for(r"garden 2.0.0 -> 304 \(confirmed: 2\)")

        broken = changed(folder / "broken", "2.1.0", 3)
        (broken / "app.py").write_text("def main(ota):\n    import of_no_use\n")
        release(folder, broken)
        board.wait_for("taken back: raised ImportError")
        tried = len(server.lines)
        server.wait_for(r"garden 2.0.0 -> 304 \(taken back: 3: ")
        for _ in range(2):
            asked = len(server.lines)
            server.wait_for("garden 2.0.0 -> 304", asked)
        if any("garden 2.1.0, " in line for line in server.lines[tried:]):
            return 1

        large = changed(folder / "large", "3.0.0", 4)
        (large / "pictures.bin").write_bytes(bytes(range(250)) * (LARGE_BYTES // 250))
        say("the power fails in the middle of the next one")
        board.cut_power_after(CUT_AFTER)
        release(folder, large)
        if not board.wait_for_power_cut():
            return 1
        board.cut_power_after(None)
        say("the power is back")
        board.power_on()
        server.wait_for("garden 3.0.0, .* from 32768 on")
        board.wait_for("slot a is confirmed")
        server.wait_for(r"garden 3.0.0 -> 304 \(confirmed: 4\)")
    slot = read_slot(board.flash, "a")
    if board.violation or not slot.accepted or image.read(slot.image).manifest.version != "3.0.0":
        return 1
    say("garden 1.0.0 -> 2.0.0, confirmed; 2.1.0 taken back, fetched once; -> 3.0.0, resumed", "")
    return 0


@contextmanager
def a_board(folder: Path, application: bytes, server: Server) -> Iterator[Board]:
    """Switch on a simulated ESP8266 with *application* that asks *server*."""
    url = server.wait_for(r"http://\S+")[0].rstrip(";")
    say(f'a simulated ESP8266 with garden 1.0.0, "update_url": "{url}", is switched on')
    settings = SETTINGS | {"update_url": url, "update_interval_s": INTERVAL_S}
    files = boot_files() | settings_file(settings) | first_record(application)
    flash = folder / "board.img"
    create_flash(flash, files, system=system_rom(ARCHITECTURE), slots={"a": application})
    with Board(flash, ip=IP, on_line=show) as board:
        yield board


def show(line: str) -> None:
    if "pull: no update" not in line:
        say(line, "  board| ")


def changed(folder: Path, version: str, sequence: int) -> Path:
    """Make *folder* a release after garden 2.0.0; return it."""
    shutil.copytree(GARDEN / "2.0.0", folder)
    app = (folder / "app.py").read_text(encoding="utf-8").replace("2.0.0", version)
    (folder / "app.py").write_text(app, encoding="utf-8")
    project = f'[tool.mpota]\nname = "garden"\nversion = "{version}"\nsequence = {sequence}\n'
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    return folder


def release(folder: Path, application: Path) -> None:
    """Put the release of *application* into the server's folder, as a whole in one moment."""
    shown = application.relative_to(GARDEN.parent if GARDEN in application.parents else folder)
    say(f"mpota pack {shown} -o new.img && mv new.img releases/")
    packed = folder / "new.img"
    command = [sys.executable, "-m", "mpota", "pack", str(application), "-o", str(packed)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    packed.rename(folder / "releases" / f"{application.name}.img")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        end_with(lambda: main(Path(name)))
