"""The power goes during an update of /data, its trial, or its end; what must follow it; the command
that repeats it.
"""

import atexit
import contextlib
import functools
import gzip
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from base_flash import edit_rom
from boards import application_image, change_files, flash_with, own_ip
from cuts import Cut
from life import repeatable
from mpota.board.flash import read_flash, read_slot
from mpota.board.record import NAME, Record
from mpota.image import data
from mpota.sim import Board
from scenarios import Edit

Found = tuple[int, str]  # the sequence that runs, and the data that it has

_OLD, _NEW, _BAD, _AFTER = "old", "new", "bad", "after"
_TABLE = 900  # times that the data's name stands in a file that takes a block of its own
_SETTLED = r"^healthy (\d) (\w+)$"
_BROUGHT = "^brought$"

# Says which data it finds, when it begins and when it is healthy; bad ones it does not stand.
_APP = """
def found():
    with open("/data/v") as f:
        v = f.read()
    with open("/data/deep/table") as f:
        for _ in range({table}):
            if f.read(len(v)) != v:
                return "mixed"
    with open("/data/own") as f:
        if f.read() != "mine":
            return "lost"
    return v

def main(ota):
    v = found()
    print("app {version} has", v)
    if v == "{bad}":
        raise ValueError
    while not ota.healthy:
        ota.handle()
    print("healthy {version}", found())
    while True:
        ota.handle()
"""
# Brings what lies in /images, as a transport does, once, at power-on.
_BRING = """
import umachine
if umachine.reset_cause() == umachine.PWRON_RESET:
    import uos
    from ota import OTA, OTAError, Updater, hal

    services = OTA()
    try:
        for name, command, digest in {images!r}:
            updater = Updater(services)
            updater.set_sha256(digest)
            updater.begin(uos.stat("/images/" + name)[6], command)
            with open("/images/" + name, "rb") as f:
                updater.write_stream(f)
            {more}
            updater.end()
        print("brought")
        hal.reset()
    except OTAError as e:
        print("refused:", e)
"""
# Damages what was received before it is read back.
_DAMAGE = b"""
from ota import data

def _damaged(path, mode):
    if path == "/.ota/data/image" and mode == "rb":
        with open(path, "r+b") as f:
            f.seek(1000)
            f.write(b"X")
    return open(path, mode)

data.open = _damaged
"""


@dataclass(frozen=True)
class DataScenario:
    """A data update: its *data* are `new` or `bad`, *is_tied* to release 2 or alone.

    *kind* is how they travel: a "tar", a "gzip" of one, or a "littlefs".
    """

    data: str
    is_tied: bool
    kind: str = "tar"

    @property
    def brings(self) -> Found:
        """What runs with which data in the trial."""
        return (2 if self.is_tied else 1), self.data

    @property
    def end(self) -> Found:
        """What runs in the end, with which data."""
        return (1, _OLD) if self.data == _BAD else self.brings


SCENARIOS = {
    "alone": DataScenario(_NEW, False),
    "alone, taken back": DataScenario(_BAD, False),
    "tied": DataScenario(_NEW, True),
    "tied, taken back": DataScenario(_BAD, True),
    "gzip": DataScenario(_NEW, False, "gzip"),
    "littlefs": DataScenario(_NEW, False, "littlefs"),
}


@dataclass(frozen=True)
class DataCut(Cut):
    """A power cut in one of the scenarios of data updates."""

    arguments = "--data '{0.scenario}' --cut {0.cut}"


def _files(version: str) -> dict[str, bytes]:
    return {"v": version.encode(), "deep/table": version.encode() * _TABLE}


def _image(version: str, kind: str = data.TAR) -> bytes:
    if kind == "gzip":
        return gzip.compress(data.build(_files(version), data.TAR), 9)
    return data.build(_files(version), kind)


def _release(version: int, named: str | None = None) -> bytes:
    source = _APP.replace("{version}", str(version)).replace("{bad}", _BAD)
    return application_image(
        {"app.py": source.replace("{table}", str(_TABLE)).encode()},
        name="small", version=str(version), sequence=version, data=named, keep=["own"],
    )  # fmt: skip


_folder = tempfile.TemporaryDirectory(prefix="mpota-data-")
atexit.register(_folder.cleanup)
_lock = threading.Lock()


@functools.cache
def _base(scenario: DataScenario, edits: tuple[Edit, ...]) -> Path:
    # A flash image, made once and not to be changed, of the board before *scenario*.
    path = Path(tempfile.mkdtemp(dir=_folder.name), "base.img")
    if edits:
        shutil.copy(_base(scenario, ()), path)
        edit_rom(path, edits)
        return path
    flash_with(path, _release(1), confirm_s=0)
    content = _image(scenario.data, scenario.kind)
    # An application that names data of its own takes no others alone.
    after = content if scenario.is_tied else _image(_AFTER)
    made = {"data": content, "after": after, "app": _release(2, data.digest(content))}
    sent = [("data", 101 if scenario.is_tied else 100)] + [("app", 0)] * scenario.is_tied
    images = [(*image, hashlib.sha256(made[image[0]]).hexdigest()) for image in sent]
    files = {f"/data/{name}": content for name, content in _files(_OLD).items()}
    files |= {f"/images/{name}": content for name, content in made.items()}
    files["/data/own"] = b"mine"
    files["/damage.py"] = _DAMAGE
    for name, brought, more in (
        ("bring", images, "pass"),
        ("after", [("after", 100, hashlib.sha256(after).hexdigest())], "pass"),
        ("damaged", images[:1], "import damage"),
    ):
        files[f"/{name}.py"] = _BRING.format(images=brought, more=more).encode()
    change_files(path, lambda found: found.update(files))
    return path


class DataLife:
    """A copy of a scenario's board, and the steps of its life."""

    def __init__(
        self, name: str, edits: tuple[Edit, ...], timeout_s: float, flash: Path | None = None
    ):
        self.scenario = SCENARIOS[name]
        self.lines: list[str] = []
        self._timeout_s = timeout_s
        self._folder = tempfile.TemporaryDirectory(prefix="mpota-data-")
        self.flash = Path(self._folder.name, "flash.img")
        with _lock:
            base = _base(self.scenario, edits)
        shutil.copy(flash or base, self.flash)

    def __enter__(self) -> "DataLife":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def last_lines(self) -> str:
        """What the board said last."""
        return "\n".join(self.lines[-40:])

    def board(self, script: str = "") -> Board:
        """Return a board, switched off, over this life's flash, that runs *script* before main."""
        scripts = ("boot.py", f"{script}.py", "main.py") if script else ("boot.py", "main.py")
        self.lines.append(f"--- power on, {script or 'no'} script")
        return Board(self.flash, ip=own_ip(), scripts=scripts, on_line=self.lines.append)

    def cut(self, script: str, operation: int, torn: str) -> None:
        """Run the board with *script* until the power goes before *operation*."""
        board = self.board(script)
        try:
            board.cut_power_after(operation, torn)
            board.power_on()
            assert board.wait_for_power_cut(self._timeout_s), f"operation {operation} never came"
            assert board.violation == ""
        finally:
            board.stop()

    def predict(self) -> tuple[Found, Found]:
        """Tell by the flash alone what the next boot runs with which data, and what is in the end.

        Raises AssertionError where that is not what may be.
        """
        files = read_flash(self.flash)
        record = Record.parse(files[NAME])
        assert record is not None, "there is no record"
        is_trial = record.trial != "-" and record.attempts < 3
        is_trial = is_trial and not read_slot(self.flash, record.trial).rejected
        slot = record.trial if is_trial else record.active
        new, old = files.get("/.ota/data/new/v"), files.get("/.ota/data/old/v")
        found = files.get("/data/v")
        if record.data == 1 and is_trial:
            found = new or found
        elif record.data:
            found = old or found
        assert found, "there would be no data"
        runs = getattr(record, slot).sequence, found.decode()
        assert runs in ((1, _OLD), self.scenario.brings), f"{runs} would run"
        return runs, self.scenario.end if is_trial else runs

    def settle(self, runs: Found, end: Found) -> int:
        """Run the board until it is settled; return how many flash operations that takes.

        *runs* is what must run first, *end* what must run in the end.
        """
        with self.board() as board:
            self._settle(board, runs, end)
            return board.operations

    def _settle(self, board: Board, runs: Found | None, end: Found) -> None:
        said = board.wait_for(_SETTLED, self._timeout_s)
        assert (int(said[1]), said[2]) == end, f"{said[0]}, not {end}"
        ran = [line.split() for line in board.lines if line.startswith("app ")]
        ran = [(int(words[1]), words[3]) for words in ran]
        assert not runs or ran[0] == runs, f"{ran[0]} runs, not {runs}"
        for found in ran:
            assert found in ((1, _OLD), self.scenario.brings), f"{found} has run"
        assert board.violation == ""

    def must_be_clean(self, end: Found) -> None:
        """Check that nothing is on trial, and that nothing is left of the update."""
        files = read_flash(self.flash)
        record = Record.parse(files[NAME])
        assert record and (record.trial, record.data) == ("-", 0), f"the record is {record}"
        left = [name for name in files if name.startswith("/.ota/data")]
        assert not left, f"{left} are left"
        content = {name: files.get(f"/data/{name}") for name in _files(end[1])}
        assert content == _files(end[1]), "the data are not whole"
        assert files.get("/data/own") == b"mine", "a file that is kept is lost"

    def bring(self) -> int:
        """Run the whole life without a power cut; return how many flash operations it takes."""
        with self.board("bring") as board:
            board.wait_for(_BROUGHT, self._timeout_s)
            self._settle(board, None, self.scenario.end)
            return board.operations

    def refuse(self, script: str) -> None:
        """Run *script*, whose update must be refused, and see that it changes nothing."""
        with self.board(script) as board:
            said = board.wait_for(rf"ERROR\[\d+\]|{_BROUGHT}", self._timeout_s)[0]
        assert said != "brought", "they were taken"
        assert self.predict()[1] == (1, _OLD), "data that were refused are tried"

    def update_further(self, end: Found) -> None:
        """See that one more data update is taken, unless the application's are others."""
        with self.board("after") as board:
            said = board.wait_for(f"{_BROUGHT}|ERROR.*", self._timeout_s)[0]
            if end[0] == 2 or not self.scenario.is_tied:
                assert said == "brought", f"a further update: {said}"
                said = board.wait_for(_SETTLED, self._timeout_s)
                assert said[2] == (end[1] if end[0] == 2 else _AFTER), said[0]
            assert board.violation == ""

    def recover(self) -> None:
        """Run the board after a power cut, and then see that it takes a further update."""
        runs, end = self.predict()
        self.settle(runs, end)
        self.must_be_clean(end)
        self.update_further(end)


@contextlib.contextmanager
def _life(
    case: DataCut, edits: tuple[Edit, ...] = (), timeout_s: float = 60, flash: Path | None = None
) -> Iterator[DataLife]:
    with DataLife(case.scenario, edits, timeout_s, flash) as life, repeatable(life, case.command):
        yield life


def count_data_operations(
    scenario: str, edits: tuple[Edit, ...] = (), timeout_s: float = 60
) -> int:
    """Return how many flash operations *scenario* takes without a power cut."""
    with DataLife(scenario, edits, timeout_s) as life:
        operations = life.bring()
        life.must_be_clean(life.scenario.end)
        return operations


def run_data_cut(case: DataCut, edits: tuple[Edit, ...] = (), timeout_s: float = 60) -> list[str]:
    """Run *case*; return what the board said. Raises AssertionError with the way to repeat it."""
    with _life(case, edits, timeout_s) as life:
        life.cut("bring", case.cut, case.torn)
        if case.second is not None:
            life.predict()
            life.cut("", case.second, case.torn)
        life.recover()
        return life.lines


def run_second_data_cuts(first: DataCut, choose: Callable[[int], Iterable[int]]) -> int:
    """Run *first*, and again with each of the second cuts that *choose* names.

    It is given how many operations the recovery takes. Return how many cases those are.
    """
    with _life(first) as life:
        life.cut("bring", first.cut, first.torn)
        after_cut = Path(shutil.copy(life.flash, life.flash.with_suffix(".cut")))
        total = life.settle(*life.predict())
        cases = [DataCut(first.scenario, first.cut, first.torn, second) for second in choose(total)]
        for case in cases:
            with _life(case, flash=after_cut) as again:
                again.cut("", case.second, case.torn)
                again.recover()
    return len(cases)
