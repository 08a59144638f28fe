"""The power goes before flash operations of a data update, alone and with an application, of its
trial, and of taking it back: the application always finds the data that belong to it.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from boards import application_image, change_files, flash_with, own_ip
from mpota.board.flash import read_flash, read_slot
from mpota.board.record import NAME, Record
from mpota.image import data
from mpota.sim import Board

_SAMPLE = 6
_TIMEOUT_S = 60
_SAYS = r"^app (\d) has (\w+)$"

# Says which data it finds; those that are bad it does not stand.
_APP = """
def main(ota):
    with open("/data/v") as f:
        v = f.read()
    print("app {version} has", v)
    if v == "bad":
        raise ValueError
    while True:
        ota.handle()
"""
# Brings what lies in /images, as a transport does, once, at power-on.
_BRING = """
import umachine
if umachine.reset_cause() == umachine.PWRON_RESET:
    import uos
    from ota import OTA, Updater, hal

    services = OTA()
    for name, command in {images!r}:
        updater = Updater(services)
        updater.begin(uos.stat("/images/" + name)[6], command)
        with open("/images/" + name, "rb") as f:
            updater.write_stream(f)
        updater.end()
    print("brought")
    hal.reset()
"""


@dataclass(frozen=True)
class Case:
    """A data update: its *data* are "new" or "bad", *is_tied* to release 2 or alone."""

    data: str
    is_tied: bool

    @property
    def end(self) -> tuple[int, str]:
        """What runs in the end, and the data that it has."""
        if self.data == "bad":
            return 1, "old"
        return (2 if self.is_tied else 1), "new"

    @property
    def pairs(self) -> set[tuple[int, str]]:
        """What may run with which data."""
        return {(1, "old"), (2 if self.is_tied else 1, self.data)}


CASES = {
    "alone": Case("new", False),
    "alone, taken back": Case("bad", False),
    "tied": Case("new", True),
    "tied, taken back": Case("bad", True),
}


def _release(version: int, named: str | None = None) -> bytes:
    source = _APP.replace("{version}", str(version)).encode()
    return application_image(
        {"app.py": source}, name="small", version=str(version), sequence=version, data=named
    )


def _image(version: str) -> bytes:
    return data.build({"v": version.encode(), "deep/table": version.encode() * 900}, data.TAR)


@pytest.fixture(scope="module")
def base():
    """Give a function that makes the flash of a case's board, once."""
    made: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="mpota-data-") as folder:

        def of(name: str) -> Path:
            if name not in made:
                made[name] = _base(Path(folder, f"{len(made)}.img"), CASES[name])
            return made[name]

        yield of


def _base(path: Path, case: Case) -> Path:
    flash_with(path, _release(1), confirm_s=0)
    content = _image(case.data)
    images = [("data", 101 if case.is_tied else 100)] + [("app", 0)] * case.is_tied
    files = {
        "/data/v": b"old", "/data/deep/table": b"old" * 900, "/images/data": content,
        "/images/app": _release(2, data.digest(content)), "/images/after": _image("after"),
        "/bring.py": _BRING.format(images=images).encode(),
        "/after.py": _BRING.format(images=[("after", 100)]).encode(),
    }  # fmt: skip
    if case.is_tied:  # it names data of its own, and then no others are taken alone
        files["/images/after"] = content
    change_files(path, lambda found: found.update(files))
    return path


def _board(flash: Path, script: str = "") -> Board:
    scripts = ("boot.py", f"{script}.py", "main.py") if script else ("boot.py", "main.py")
    return Board(flash, ip=own_ip(), scripts=scripts)


def _says(board: Board, start: int = 0) -> tuple[int, str]:
    said = board.wait_for(_SAYS, _TIMEOUT_S, start)
    return int(said[1]), said[2]


def _predicted(flash: Path) -> tuple[int, str]:
    """Tell what the next boot runs with which data, by the record and the folders alone."""
    files = read_flash(flash)
    record = Record.parse(files[NAME])
    assert record is not None
    is_trial = record.trial != "-" and record.attempts < 3
    is_trial = is_trial and not read_slot(flash, record.trial).rejected
    slot = record.trial if is_trial else record.active
    version = getattr(record, slot).sequence
    new, old = files.get("/.ota/data/new/v"), files.get("/.ota/data/old/v")
    found = files.get("/data/v")
    if record.data == 1 and is_trial:
        found = new or found
    elif record.data:
        found = old or found
    assert found, "there would be no data"
    return version, found.decode()


def _count(flash: Path, case: Case) -> int:
    copy = Path(shutil.copy(flash, flash.with_suffix(".count")))
    with _board(copy, "bring") as board:
        board.wait_for("^brought", _TIMEOUT_S)
        _settle(board, case)
        return board.operations


def _settle(board: Board, case: Case) -> None:
    said = 0
    for _ in range(9):
        line = board.wait_for(f"{_SAYS}", _TIMEOUT_S, said)
        if (int(line[1]), line[2]) == case.end:
            break
        said = board.lines.index(line.string, said) + 1
    board.wait_for("is confirmed" if case.data == "new" else "listens", _TIMEOUT_S, said)


@pytest.mark.campaign
@pytest.mark.parametrize("name", CASES)
def test_a_power_cut_before_any_operation_leaves_an_application_with_its_data(
    base, name, campaign, record_property, tmp_path
):
    case = CASES[name]
    total = _count(base(name), case)
    cuts = campaign.sample(f"data {name}", range(total), _SAMPLE)
    for cut in cuts:
        flash = Path(shutil.copy(base(name), tmp_path / "cut.img"))
        board = _board(flash, "bring")
        try:
            board.cut_power_after(cut)
            board.power_on()
            assert board.wait_for_power_cut(_TIMEOUT_S), f"operation {cut} never came"
            assert board.violation == ""
        finally:
            board.stop()
        predicted = _predicted(flash)
        assert predicted in case.pairs, f"cut {cut}: {predicted} would run"
        with _board(flash) as board:
            assert _says(board) == predicted, f"cut {cut}: not as the flash says"
            for line in board.lines:  # whatever runs after that
                if line.startswith("app "):
                    assert (int(line[4]), line.split()[-1]) in case.pairs, f"cut {cut}: {line}"
            board.wait_for("listens|is confirmed|is as before", _TIMEOUT_S)
        # And a further update is taken.
        with _board(flash, "after") as board:
            board.wait_for("^brought|^app . has new$|ERROR", _TIMEOUT_S)
            assert board.violation == ""
    record_property(f"power cuts, data {name}", f"{len(cuts)}/{total} operations")
