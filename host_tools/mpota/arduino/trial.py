"""Wait for the end of the trial that follows an upload, by the status that the board tells."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mpota.arduino.outcomes import BusyError, ConnectionLostError, NoAnswerError, UploadError
from mpota.arduino.sockets import resolve
from mpota.arduino.status import Status, ask_status

_POLL_S = 1.0
_PATIENCE_S = 3.0  # for one answer; what gets lost is asked for again by the next poll
_SILENCE_S = 8.0  # without an answer that is told: longer than a restart takes


@dataclass(frozen=True)
class Ending:
    """How a trial ended; `why` is a reason in words, "" for confirmed.

    `runs` is what the board runs now, such as "garden 1.0.0", "" where that is not known.
    """

    verdict: Literal["confirmed", "taken back", "undecided"]
    why: str = ""
    runs: str = ""


def await_ending(
    board_ip: str,
    board_port: int,
    password: str,
    what: str,
    wait_s: float,
    state: Callable[[str, str], None] = lambda stage, detail: None,
) -> Ending:
    """Wait for the end of the trial of `what`, `wait_s` at most.

    That is the sequence of a release, or "data". To be called when the board has just said OK to
    its upload. `state` gets the stage that the
    trial is in, and a detail of it, every second or so. A board that says nothing leaves it
    undecided. Raises UnknownHostError.
    """
    address = resolve(board_ip)
    return follow(
        lambda patience_s: ask_status(address, board_port, password, patience_s),
        what,
        wait_s,
        state,
    )


def follow(
    ask: Callable[[float], Status],
    what: str,
    wait_s: float,
    state: Callable[[str, str], None] = lambda stage, detail: None,
) -> Ending:
    """Do what `await_ending` does; `ask` gives the status, in so many seconds at most."""
    trial = _Trial(what)
    until = trial.begun + wait_s
    while (left_s := until - time.monotonic()) > 0:
        state(*trial.state)
        try:
            trial.heard(ask(min(_PATIENCE_S, left_s)))
        except (NoAnswerError, BusyError, ConnectionLostError):
            trial.heard(None)
        except UploadError as error:  # such as another password: it is of no use to ask again
            return Ending("undecided", f"the board does not tell: {error}")
        if trial.ending:
            return trial.ending
        time.sleep(max(0, min(_POLL_S, until - time.monotonic())))
    return Ending("undecided", " ".join(trial.state))


class _Trial:
    """What is known of a trial, by the statuses of the board that were `heard`."""

    def __init__(self, what: str):
        self._what = what
        self.begun = self._heard = time.monotonic()
        self.state = "the board restarts", "to try it"
        self.ending: Ending | None = None

    def heard(self, status: Status | None) -> None:
        """Take note of a status, or that there was none."""
        now = time.monotonic()
        if status is None:
            if now - self._heard > _SILENCE_S:
                self.state = "the board does not answer", f"for {now - self._heard:.0f} s now"
            return
        self._heard = now
        # The boot that took the upload was there before it, so its uptime is more than that. Its
        # outcome may be that of a trial of the same release before.
        if status.uptime_s > now - self.begun:
            self.state = "the board has not restarted,", "and tries it when it does"
        elif status.state == "trial":
            self.state = "on trial", f"for {status.trial_left_s} s at most"
        else:
            self._judge(status)

    def _judge(self, status: Status) -> None:
        runs = f"{status.name} {status.version}".strip()
        said, _, why = status.outcome.partition(": ")
        what, _, reason = why.partition(": ")
        if status.outcome == f"confirmed: {self._what}":
            self.ending = Ending("confirmed", runs=runs)
        elif said == "taken back" and what == self._what:
            self.ending = Ending("taken back", reason, runs)
        elif said == "failed":
            self.ending = Ending("taken back", why, runs)
        else:
            does = f"runs {runs}" if runs else "runs no application"
            self.state = f"the board {does},", f"its last update: {status.outcome or 'not known'}"
