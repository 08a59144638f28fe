"""The scenarios in which the power is cut: the board's state before, and its commands."""

from dataclasses import dataclass

from releases import NEW, NEWER, OLD, OLDER, SEQUENCES

Edit = tuple[str, str, str]  # a file of lib/ota, a text that is in it once, another in its place

# Five seconds of a hang are shortened: the watchdog's limit is the only figure that differs.
_SHORT_WATCHDOG: tuple[Edit, ...] = (
    ("watchdog.py", "_LIMIT_MS = const(5000)", "_LIMIT_MS = const(200)"),
    ("watchdog.py", "_PERIOD_MS = const(500)", "_PERIOD_MS = const(50)"),
)


@dataclass(frozen=True)
class Scenario:
    """A board and what happens on it.

    *board* is the board before: `flashed` has `old` in slot a and nothing in b; `updated` had
    `older` before and got `old` by an update; `newest` got `new` after that; `large` is `updated`
    with images that fill a slot; `rejected` is `updated` and has taken `new` back; `lost` is
    `updated` and has lost its record, `half` its record and a part of `old`, `empty` its record and
    the marks of both slots; `damaged` has a record, and both images are damaged.
    *script* runs between boot.py and main.py. *app* is what `new` does, *old_app* what `old` does.
    *final* is the version that runs in the end where nothing goes wrong, None for the services
    alone, and *bad* the one that is not confirmed. With *new_keys* the board takes only what is
    signed, and `new` brings other keys. *sent_as* is how `new` travels: an "image", a "gzip", or a
    "delta" from `old`. *password* is what an upload must prove to know. With *has_page* the board
    has its update page on.
    """

    name: str
    script: str
    final: str | None
    board: str = "updated"
    app: str = "good"
    old_app: str = "good"
    bad: str | None = None
    new_keys: bool = False
    sent_as: str = "image"
    password: str = ""
    has_page: bool = False
    watchdog_ms: int = 5000
    trial_s: int = 600
    tuning: tuple[Edit, ...] = ()

    @property
    def rejected(self) -> int:
        """The sequence that the record calls rejected in the end."""
        if self.script == "revert":
            return SEQUENCES[OLD if self.bad else NEW]
        return SEQUENCES[self.bad] if self.bad else 0

    @property
    def is_slow(self) -> bool:
        """Whether it waits for the watchdog, or for the end of a trial's time.

        What it does to the flash is what `never-confirmed` does.
        """
        return self.app in ("hangs", "undecided")

    @property
    def lacks_record(self) -> bool:
        """Whether the board has no record in the beginning."""
        return self.board in ("lost", "half", "empty")

    @property
    def has_damaged_slots(self) -> bool:
        """Whether no slot of the board is usable in the beginning."""
        return self.board in ("empty", "damaged")

    @property
    def first_version(self) -> str | None:
        """The version that runs before anything happens; None: the services alone."""
        return _FIRST_VERSIONS.get(self.board, OLD)


# For the boards whose first version is not `old`.
_FIRST_VERSIONS = {"newest": NEW, "half": OLDER, "empty": None, "damaged": None}

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first-update", "bring_new", NEW, board="flashed"),
        Scenario("update", "bring_new", NEW),
        Scenario("large-update", "bring_new", NEW, board="large"),
        Scenario("raises", "bring_new", OLD, app="raises", bad=NEW),
        Scenario("never-confirmed", "bring_new", OLD, app="resets", bad=NEW),
        Scenario("hangs", "bring_new", OLD, app="hangs", bad=NEW,
                 watchdog_ms=300, tuning=_SHORT_WATCHDOG),
        Scenario("undecided", "bring_new", OLD, app="undecided", bad=NEW, trial_s=1),
        Scenario("new-keys", "bring_new", NEW, new_keys=True),
        Scenario("gzip", "bring_new", NEW, sent_as="gzip"),
        Scenario("delta", "bring_new", NEW, sent_as="delta"),
        Scenario("signed-delta-raises", "bring_new", OLD, app="raises", bad=NEW, new_keys=True,
                 sent_as="delta"),
        Scenario("second-update", "bring_both", NEWER),
        Scenario("update-after-rejection", "bring_newer", NEWER, board="rejected", app="raises"),
        Scenario("revert", "revert", OLD, board="newest"),
        Scenario("revert-raises", "revert", NEW, board="newest", old_app="breaks", bad=OLD),
        Scenario("record-lost", "", OLD, board="lost"),
        Scenario("record-and-slot-lost", "", OLDER, board="half"),
        Scenario("slots-empty", "bring_new", NEW, board="empty"),
        Scenario("slots-damaged", "bring_new", NEW, board="damaged"),
        Scenario("first-raises", "bring_new", None, board="empty", app="raises", bad=NEW),
    )
}  # fmt: skip
