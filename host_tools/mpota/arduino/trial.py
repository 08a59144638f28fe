"""Wait for the end of the trial that follows an upload, by asking the board for its status."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mpota.arduino.outcomes import BusyError, ConnectionLostError, NoAnswerError, UploadError
from mpota.arduino.sockets import resolve
from mpota.arduino.status import Status, ask_status

_POLL_S = 1.0
_PATIENCE_S = 3.0  # for one answer; if a datagram gets lost, the next poll asks again
_SILENCE_S = 8.0  # a longer silence is told to the user; a restart takes less


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
    """Wait for the end of the trial of `what`, for `wait_s` at most.

    `what` is the sequence of a release, or "data". Call this function when the board has just said
    OK to the upload. `state` is called about every second, with the stage of the trial and a detail
    of it. If the board does not tell the end in time, the verdict is "undecided". Raises
    UnknownHostError.
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
    """Do what `await_ending` does.

    `ask` returns the board's status; its argument is how long it may take, in seconds.
    """
    trial = _Trial(what)
    until = trial.begun + wait_s
    while (left_s := until - time.monotonic()) > 0:
        state(*trial.state)
        try:
            trial.heard(ask(min(_PATIENCE_S, left_s)))
        except (NoAnswerError, BusyError, ConnectionLostError):
            trial.heard(None)
        except UploadError as error:  # such as a wrong password: asking again would not help
            return Ending("undecided", f"the board does not tell its status: {error}")
        if trial.ending:
            return trial.ending
        time.sleep(max(0, min(_POLL_S, until - time.monotonic())))
    return Ending("undecided", " ".join(trial.state))


class _Trial:
    """What is known of a trial from the board's statuses so far."""

    def __init__(self, what: str):
        self._what = what
        self.begun = self._heard = time.monotonic()
        self.state = "the board restarts", "to try it"
        self.ending: Ending | None = None

    def heard(self, status: Status | None) -> None:
        """Take note of a status; None: the board did not answer."""
        now = time.monotonic()
        if status is None:
            if now - self._heard > _SILENCE_S:
                self.state = "the board does not answer", f"for {now - self._heard:.0f} s now"
            return
        self._heard = now
        # A board that has been up for longer than this trial has not restarted since the upload.
        # Its outcome may be that of an earlier trial of the same release.
        if status.uptime_s > now - self.begun:
            self.state = "the board has not restarted yet,", "and tries the new version then"
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
