"""Several boards at a time: how many there are, and when no other one is begun."""

import threading

import pytest
from mpota.cli.boards import NotBegunError, at_once, is_pattern
from mpota.errors import CommandError

BOARDS = [f"board-{n}" for n in range(6)]


@pytest.mark.parametrize("most", [1, 2, 6])
def test_no_more_than_so_many_are_worked_on_at_a_time_and_as_many_are(most):
    running, peak = set(), []
    lock, all_there = threading.Lock(), threading.Barrier(most)

    def work(board):
        with lock:
            running.add(board)
            peak.append(len(running))
        all_there.wait(30)  # until as many are running
        with lock:
            running.discard(board)
        return board

    assert at_once(BOARDS, work, most=most) == BOARDS
    assert max(peak) == most


def fails_at(number):
    def work(board):
        if board == BOARDS[number]:
            raise CommandError("broken")
        return board

    return work


@pytest.mark.parametrize("number", range(6))
def test_after_a_failure_no_other_is_begun(number):
    results = at_once(BOARDS, fails_at(number), most=1, max_failures=1)
    assert results[:number] == BOARDS[:number]
    assert str(results[number]) == "broken"
    for result in results[number + 1 :]:
        assert isinstance(result, NotBegunError) and str(result) == "not begun: 1 board has failed"


def test_a_failure_may_also_be_a_result():
    results = at_once(BOARDS, str.upper, most=1, max_failures=2, has_failed=lambda it: it[-1] < "2")
    assert results[:2] == ["BOARD-0", "BOARD-1"]
    assert [str(it) for it in results[2:]] == ["not begun: 2 boards have failed"] * 4


def test_without_a_limit_all_are_tried():
    results = at_once(BOARDS, fails_at(0), most=2)
    assert results[1:] == BOARDS[1:] and str(results[0]) == "broken"


def test_what_is_a_pattern():
    assert all(map(is_pattern, ["*", "garden-*", "garden-?", "garden-[12]"]))
    assert not any(map(is_pattern, ["garden", "garden-1.local", "192.168.4.1"]))
