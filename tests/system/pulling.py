"""A board that asks servers when the test wants it, and tells the results."""

import re
from dataclasses import dataclass
from pathlib import Path

import boards
from device import COMMANDED_APP, Device
from mpota.board.record import NO_SLOT

# This application asks a server when a UDP command tells it to. It prints in what order its
# callbacks are called. ota.on_error gets the errors of updates that have begun; ota.pull.on_error
# gets all errors.
PULLING_APP = """
def ask(ota, what, url, version=None, **options):
    pull = ota.pull
    for name in options:
        setattr(pull, name, options[name])
    pull.on_error(lambda code: print("event pull error", code))
    if what == "available_version":
        result = pull.available_version(url)
    else:
        result = getattr(pull, what)(url, version)
    for name in options:
        delattr(pull, name)
    print("result", result, pull.last_error, pull.last_error_text)

def tell(ota):
    ota.on_start(lambda: print("event start"))
    ota.on_end(lambda: print("event end"))
    ota.on_error(lambda code: print("event error", code))
    ota.on_progress(lambda done, size: done in (0, size) and print("event progress", done, size))
""" + COMMANDED_APP.replace("    print(\"app", "    tell(ota)\n    print(\"app")  # fmt: skip

RESULTS = FAILED, NO_UPDATES, OK = 0, 1, 2


@dataclass(frozen=True)
class Outcome:
    """The outcome of a question: the result, the error's number and text, the callbacks."""

    result: str
    error: int
    text: str
    events: list[str]


class PullingDevice(Device):
    """A board whose application is PULLING_APP. It does not restart after an update by itself.

    Its heap is larger than a chip's, since that application is.
    """

    def __init__(self, folder: Path, app: str = PULLING_APP, **settings: object) -> None:
        super().__init__(folder, app, **{"reboot_on_success": False, "heap": "72k"} | settings)

    def __enter__(self) -> "PullingDevice":
        super().__enter__()
        self.board.wait_for("takes commands")
        return self

    def ask(self, what: str, url: str, version: str | None = None, **options: object) -> Outcome:
        """Let the board call `ota.pull.WHAT(url, version)` with *options* set on `ota.pull`."""
        arguments = "".join(f", {name}={value!r}" for name, value in options.items())
        start = self.command(f"ask(ota, {what!r}, {url!r}, {version!r}{arguments})")
        lines = self.board.lines[start:]
        found = [re.match(r"result (.*?) (-?\d+) (.*)", line) for line in lines]
        result = next((match for match in found if match), None)
        assert result, lines
        events = [line.removeprefix("event ") for line in lines if line.startswith("event ")]
        return Outcome(result[1], int(result[2]), result[3], events)

    def update(self, url: str, version: str | None = None, **options: object) -> Outcome:  # type: ignore[override]
        """Let the board call `ota.pull.update`."""
        return self.ask("update", url, version, **options)

    def fails(self, url: str, error: int, **options: object) -> Outcome:  # type: ignore[override]
        """See `update` end with the number *error*, and harm nothing."""
        said, before = self.said, self.record
        running = self.slot(before.active)
        outcome = self.update(url, **options)
        assert (outcome.result, outcome.error) == (str(FAILED), error), outcome
        assert not [line for line in self.board.lines[said:] if "Traceback" in line]
        after = self.record
        assert self.slot(after.active) == running and after.trial in (NO_SLOT, before.trial)
        return outcome

    def installs(self, url: str, data: bytes, **options: object) -> Outcome:
        """See `update` succeed with *data*, which is in its slot then and on trial at a restart."""
        outcome = self.update(url, **options)
        assert outcome.result == str(OK), outcome
        trial = self.record.trial
        assert trial != NO_SLOT and self.slot(trial)[: len(data)] == data
        assert self.board.violation == ""
        return outcome

    def trial_image(self, size_bytes: int = 0) -> bytes:
        """Return the next release, with a file so that the image has about *size_bytes*."""
        files = {"filler.bin": filler(size_bytes)} if size_bytes else {}
        return self.next_image(files=files)


def filler(size_bytes: int) -> bytes:
    """Return bytes that do not repeat."""
    return b"".join(n.to_bytes(4, "big") for n in range(size_bytes // 4))


def an_image(sequence: int, size_bytes: int = 0, app: str = PULLING_APP) -> bytes:
    """Return the release *sequence* of *app*, with a file of *size_bytes*."""
    files = {"app.py": app.replace("{version}", str(sequence)).encode()}
    if size_bytes:
        files["filler.bin"] = filler(size_bytes)
    return boards.small_image(str(sequence), sequence, files)
