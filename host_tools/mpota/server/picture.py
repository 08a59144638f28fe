"""The pictures of a roll-out as numbers that the page draws: places, widths and heights."""

from dataclasses import dataclass

from mpota.server.decision import Counts

BARS = 24
_WIDTH, _HEIGHT = 720.0, 120.0
_GAP = 3.0
KINDS = ("confirmed", "reverted", "failed", "open")


@dataclass(frozen=True)
class Part:
    """A rectangle for boards of one kind, and how many they are."""

    kind: str
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bars:
    """Bars over time: their rectangles, when the first bar begins and when the last one ends."""

    parts: list[Part]
    since: float
    until: float
    highest: int


def progress(counts: Counts, reach: int) -> list[Part]:
    """Return a bar for the *reach* boards that a roll-out is for, by what has become of them."""
    failed = counts.failed + counts.timed_out
    numbers = (counts.confirmed, counts.reverted, failed, counts.open)
    total = max(reach, sum(numbers), 1)
    parts, x = [], 0.0
    for kind, count in zip(KINDS, numbers, strict=True):
        width = _WIDTH * count / total
        if count:
            parts.append(Part(kind, count, round(x, 1), 0.0, round(width, 1), 16.0))
        x += width
    return parts


def over_time(endings: list[tuple[float, str]]) -> Bars | None:
    """Return bars for updates that ended, given as when and how; None where none has ended."""
    if not endings:
        return None
    since = min(moment for moment, _ in endings)
    until = max(moment for moment, _ in endings)
    step = max((until - since) / BARS, 1e-6)
    stacks = [dict.fromkeys(KINDS, 0) for _ in range(BARS)]
    for moment, kind in endings:
        stacks[min(BARS - 1, int((moment - since) / step))][kind] += 1
    highest = max(sum(stack.values()) for stack in stacks)
    parts = []
    width = _WIDTH / BARS
    for number, stack in enumerate(stacks):
        y = _HEIGHT
        for kind, count in stack.items():
            if count:
                height = _HEIGHT * count / highest
                y -= height
                parts.append(
                    Part(kind, count, round(number * width, 1), round(y, 1), width - _GAP,
                         round(height, 1))
                )  # fmt: skip
    return Bars(parts, since, until, highest)


def versions(counted: list[tuple[str, int]]) -> list[tuple[str, int, float]]:
    """Return each version, its number of boards, and the width of its bar in percent."""
    most = max((count for _, count in counted), default=1)
    return [(name, count, round(100 * count / most, 1)) for name, count in counted]
