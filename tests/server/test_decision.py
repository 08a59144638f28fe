"""Who gets what, whatever the boards, the releases and the roll-outs are."""

import dataclasses

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from mpota.server.decision import (
    GIVING,
    Arduino,
    Board,
    BoardState,
    Counts,
    Kind,
    Load,
    Phase,
    Plan,
    Release,
    Rollout,
    RolloutState,
    Try,
    advance,
    decide,
    includes,
    share_of,
)  # fmt: skip

settings.register_profile("short", max_examples=60, deadline=None)
settings.load_profile("short")

GROUPS = ("", "lab", "field")
NOW = 1_800_000_000.0
FAR = 10**9


def mostly(likely, unlikely):
    """Draw *likely*, or one time of ten what the other strategy gives.

    A board gets something only where a dozen things are right.
    """
    return st.sampled_from([True] * 9 + [False]).flatmap(
        lambda is_likely: st.just(likely) if is_likely else unlikely
    )


groups = mostly(frozenset(), st.frozensets(st.sampled_from(GROUPS), max_size=2))
releases = st.builds(
    Release,
    id=st.just(0),
    application=mostly("garden", st.just("pond")),
    version=st.sampled_from(["1.0", "2.0", "3.0", "4.0"]),
    sequence=st.integers(1, 6),
    md5=st.sampled_from(["a" * 32, "b" * 32]),
    content_md5=st.sampled_from(["a" * 32, "c" * 32]),
    size_bytes=st.just(1000),
    sha256=st.just("d" * 64),
    channel=mostly("stable", st.just("beta")),
    downgrade=st.booleans(),
    withdrawn=mostly(False, st.just(True)),
    is_data=mostly(False, st.just(True)),
    data=mostly("", st.sampled_from(["aa" * 32, "bb" * 32])),
)
phases = st.builds(
    Phase,
    percent=st.just(100.0) | st.floats(0, 100),
    soak_s=st.floats(0, 1e6),
    needed=st.integers(0, 5),
    groups=groups,
)
limits = mostly(None, st.integers(0, 5))


@st.composite
def rollouts(draw, releases=6):
    steps = tuple(draw(st.lists(phases, min_size=1, max_size=4)))
    return Rollout(
        id=draw(st.integers(1, 9)),
        release_id=draw(st.integers(1, releases)),
        state=draw(mostly(RolloutState.RUNNING, st.sampled_from(RolloutState))),
        phases=steps,
        phase=draw(st.integers(0, len(steps) - 1)),
        groups=draw(groups),
        starts_at=draw(mostly(None, st.floats(NOW - 100, NOW + 100))),
        downloads_at_once=draw(limits),
        downloads_per_minute=draw(limits),
        abort_share=draw(st.floats(0, 1)),
        abort_minimum=draw(st.integers(0, 8)),
    )


@st.composite
def plans(draw):
    made = draw(st.lists(releases, min_size=1, max_size=6))
    numbered = {n: dataclasses.replace(r, id=n) for n, r in enumerate(made, 1)}
    chosen = draw(st.lists(rollouts(len(numbered)), min_size=1, max_size=5))
    return Plan(numbered, tuple(chosen))


boards = st.builds(
    Board,
    mac=st.integers(0, 2**48 - 1).map("{:012X}".format),
    application=mostly("garden", st.just("pond")),
    version=st.none() | st.sampled_from(["1.0", "2.0", "3.0"]),
    sequence=st.sampled_from([0, 1, 1, 2, 4, 6, None]),
    md5=st.sampled_from(["a" * 32, "b" * 32, "c" * 32, "e" * 32]),
    state=mostly(BoardState.ACCEPTED, st.sampled_from(BoardState)),
    channel=mostly("stable", st.just("beta")),
    group=st.sampled_from(GROUPS),
    pin=mostly(None, st.integers(1, 8)),
    floor=mostly(0, st.integers(0, 6)),
    failed=mostly(frozenset(), st.frozensets(st.integers(1, 6), max_size=2)),
    open=st.none(),
    data=mostly(None, st.sampled_from(["", "aa" * 16, "bb" * 16])),
    wants_data=mostly(False, st.just(True)),
)
loads = st.dictionaries(
    st.integers(1, 9), st.builds(Load, st.integers(0, 6), st.integers(0, 6)), max_size=4
)


def note(answer):
    """Let `--hypothesis-show-statistics` tell how many got what."""
    event(f"{answer.kind}, {'pinned' if answer.why == 'pinned' else 'not pinned'}")
    return answer


def release(number: int = 2, **fields: object) -> Release:
    values = {"id": number, "application": "garden", "version": f"{number}.0", "sequence": number,
              "md5": f"{number:032x}", "content_md5": f"{number:032x}", "size_bytes": 1000,
              "sha256": f"{number:064x}"}  # fmt: skip
    return Release(**values | fields)


def board(number: int = 1, **fields: object) -> Board:
    values = {"mac": f"5CCF7F{number:06X}", "application": "garden", "version": "1.0",
              "sequence": 1}  # fmt: skip
    return Board(**values | fields)


def plan(*rollouts: Rollout, releases: tuple[Release, ...] = ()) -> Plan:
    return Plan({r.id: r for r in releases or (release(1), release(2), release(3))}, rollouts)


@given(boards, plans(), loads, st.sampled_from(list(Arduino)))
def test_no_board_gets_what_its_pin_floor_rejections_groups_and_phases_exclude(
    board, plan, load, arduino
):
    answer = note(decide(board, plan, load, arduino))
    if answer.kind != Kind.OFFER:
        return
    given_release, rollout = answer.release, answer.rollout
    assert board.state == BoardState.ACCEPTED
    assert plan.releases[given_release.id] == given_release and not given_release.withdrawn
    assert given_release.application == board.application
    assert given_release.id not in board.failed
    assert given_release.is_data == board.wants_data
    if board.wants_data:
        assert board.data is None or not board.data or not given_release.data.startswith(board.data)
    else:
        assert given_release.sequence != board.sequence
        assert board.data is None or given_release.data[:32] in ("", board.data)
    if rollout is None:
        assert given_release.id == board.pin
        if not board.wants_data:
            assert given_release.sequence >= board.floor or given_release.downgrade
    else:
        # A pin to an application says nothing of data, nor the other way round.
        assert board.pin is None or plan.releases[board.pin].is_data != board.wants_data
        assert rollout in plan.rollouts and rollout.release_id == given_release.id
        assert rollout.state in GIVING
        if board.wants_data:
            has = [
                other.sequence
                for other in plan.releases.values()
                if other.is_data
                and other.application == board.application
                and board.data
                and other.data.startswith(board.data)
            ]
            assert given_release.sequence >= max(has, default=0)
        else:
            assert given_release.sequence >= board.floor
            assert given_release.sequence > (board.sequence or 0)
        assert given_release.channel == board.channel
        assert not rollout.groups or board.group in rollout.groups
        reached = [p for p in rollout.phases[: rollout.phase + 1]
                   if not p.groups or board.group in p.groups]  # fmt: skip
        assert reached and 100 * share_of(board.mac, rollout.id) < max(p.percent for p in reached)
        now = load.get(rollout.id, Load())
        assert rollout.downloads_at_once is None or now.at_once < rollout.downloads_at_once
        per_minute = rollout.downloads_per_minute
        assert per_minute is None or now.last_minute < per_minute


@given(boards, plans())
def test_a_board_gets_the_newest_of_what_it_may_have(board, plan):
    answer = decide(board, plan)
    if answer.kind != Kind.OFFER or not answer.rollout:
        return
    for rollout in plan.rollouts:
        other = plan.releases[rollout.release_id]
        alone = Plan(plan.releases, (rollout,))
        if decide(board, alone).kind == Kind.OFFER:
            assert other.sequence <= answer.release.sequence


@given(boards, rollouts())
def test_a_board_that_a_phase_includes_stays_included(board, rollout):
    came = [
        includes(dataclasses.replace(rollout, phase=n), board) for n in range(len(rollout.phases))
    ]
    assert came == sorted(came)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, FAR), st.floats(0, 100))
def test_the_share_of_a_phase_holds(rollout_id, percent):
    rollout = Rollout(rollout_id, 2, phases=(Phase(percent),))
    count = 2000
    got = sum(includes(rollout, board(number)) for number in range(count))
    # Four standard deviations of a fair draw.
    assert abs(got - count * percent / 100) <= 4 * (count * 0.25) ** 0.5 + 1


def test_another_roll_out_has_another_order():
    first, second = ({n for n in range(500) if share_of(f"5CCF7F{n:06X}", i) < 0.1} for i in (1, 2))
    assert 20 < len(first) < 90 and len(first & second) < len(first) / 2


@given(rollouts(), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_abort_comes_when_the_share_is_passed_and_not_before(
    rollout, confirmed, reverted, failed, timed_out
):
    rollout = dataclasses.replace(rollout, state=RolloutState.RUNNING)
    counts = Counts(confirmed, reverted, failed, timed_out)
    bad = reverted + failed + timed_out
    finished = confirmed + bad
    step = advance(rollout, counts, 1e9, NOW)
    is_aborted = step is not None and step.state == RolloutState.ABORTED
    passes = bad > 0 and bad / max(1, finished) > rollout.abort_share + 1e-9
    if passes and finished >= rollout.abort_minimum:
        assert is_aborted and str(bad) in step.why
    if bad == 0 or finished < rollout.abort_minimum:
        assert not is_aborted


@given(rollouts(), st.integers(0, 9), st.floats(0, 2e6))
def test_a_phase_ends_with_its_soak_time_and_confirmed_boards_alone(rollout, confirmed, soaked_s):
    step = advance(rollout, Counts(confirmed), soaked_s, NOW)
    if rollout.state != RolloutState.RUNNING:
        assert step is None or (rollout.state, step.state) == (
            RolloutState.SCHEDULED, RolloutState.RUNNING,
        )  # fmt: skip
        return
    phase = rollout.phases[rollout.phase]
    if soaked_s < phase.soak_s or confirmed < phase.needed:
        assert step is None
    elif rollout.phase + 1 < len(rollout.phases):
        assert (step.state, step.phase) == (RolloutState.RUNNING, rollout.phase + 1)
    else:
        assert step.state == RolloutState.COMPLETE


def test_a_scheduled_roll_out_starts_when_it_is_time():
    rollout = Rollout(1, 2, RolloutState.SCHEDULED, starts_at=NOW)
    assert advance(rollout, Counts(), 0, NOW - 1) is None
    assert advance(rollout, Counts(), 0, NOW).state == RolloutState.RUNNING
    assert decide(board(), plan(rollout)).kind == Kind.NOTHING


@pytest.mark.parametrize(
    ("told", "arduino", "kind"),
    [({"version": "1.0"}, Arduino.CLASSIC, Kind.OFFER),
     ({"version": "2.0"}, Arduino.CLASSIC, Kind.NOTHING),
     ({"version": "2.0", "md5": "e" * 32}, Arduino.CURRENT, Kind.NOTHING),
     ({"version": "1.0"}, Arduino.CURRENT, Kind.OFFER),
     ({"md5": "e" * 32}, Arduino.CLASSIC, Kind.OFFER),
     ({"md5": "e" * 32}, Arduino.CURRENT, Kind.NOTHING),
     ({"md5": f"{2:032x}"}, Arduino.CLASSIC, Kind.NOTHING),
     ({"md5": "c" * 32}, Arduino.CLASSIC, Kind.NOTHING)],
)  # fmt: skip
def test_a_sketch_is_judged_by_its_version_or_else_its_md5(told, arduino, kind):
    sketch = board(**{"version": None, "sequence": None} | told)
    packed = plan(Rollout(1, 2), releases=(release(2, content_md5="c" * 32),))
    assert decide(sketch, packed, arduino=arduino).kind == kind


def test_a_try_that_does_not_arrive_is_repeated_for_an_hour_and_so_often_at_least():
    rollout = Rollout(1, 2, tries=3)
    for count, age_s, gives_up in ((1, 7200, False), (2, 7200, False), (3, 3599, False),
                                   (50, 210, False), (3, 3600, True)):  # fmt: skip
        by_rollout, by_pin = Try(2, count, age_s, 1), Try(2, count, age_s)
        for asks in (board(open=by_rollout), board(pin=2, open=by_pin)):
            answer = decide(asks, plan(rollout))
            assert answer.kind == (Kind.NOTHING if gives_up else Kind.OFFER)
            assert answer.gives_up == gives_up


def test_what_came_by_another_roll_out_is_no_try_of_this_one():
    going_on = Try(2, 3, 7200, rollout_id=1)
    answer = decide(board(open=going_on), plan(Rollout(4, 2, tries=3)))
    assert (answer.kind, answer.gives_up) == (Kind.OFFER, False)


def test_boards_that_find_a_limit_come_back_at_times_of_their_own():
    rollout = Rollout(1, 2, downloads_at_once=4)
    answers = [decide(board(n), plan(rollout), {1: Load(4)}) for n in range(50)]
    assert {a.kind for a in answers} == {Kind.WAIT}
    waits = {a.wait_s for a in answers}
    assert len(waits) > 20 and min(waits) >= 60 and max(waits) < 120


def test_an_application_that_has_no_release_is_unknown():
    assert decide(board(application="attic"), plan()).kind == Kind.UNKNOWN


def test_a_pin_below_the_floor_needs_a_release_that_says_so():
    low = board(sequence=3, floor=3, pin=2)
    assert decide(low, plan()).kind == Kind.NOTHING
    allowed = plan(releases=(release(2, downgrade=True),))
    assert decide(low, allowed).kind == Kind.OFFER


def data(number: int, **fields: object) -> Release:
    return release(number, **{"is_data": True, "data": f"{number:02x}" * 32} | fields)


def has(number: int) -> str:
    return f"{number:02x}" * 16


def test_data_are_given_to_who_asks_for_them_and_never_older_ones():
    both = plan(Rollout(1, 2), Rollout(2, 5), releases=(release(2), data(5)))
    asks = board(wants_data=True, version=None, data="")
    assert decide(asks, both).release.id == 5
    assert decide(board(data=""), both).release.id == 2
    assert decide(dataclasses.replace(asks, data=has(5)), both).kind == Kind.NOTHING
    # It has newer data, whose roll-out was cancelled.
    newer = plan(Rollout(2, 5), releases=(data(5), data(6)))
    assert decide(dataclasses.replace(asks, data=has(6)), newer).kind == Kind.NOTHING
    none = plan(Rollout(1, 2), releases=(release(2),))
    assert decide(asks, none).kind == Kind.UNKNOWN


def test_a_sketch_gets_data_by_the_version_that_it_tells_of_them():
    offered = plan(Rollout(2, 5), releases=(data(5, version="pages-5"),))
    asks = board(wants_data=True, sequence=None, version="pages-4")
    assert decide(asks, offered).kind == Kind.OFFER
    for version in ("pages-5", None):
        told = dataclasses.replace(asks, version=version)
        assert decide(told, offered).kind == Kind.NOTHING


def test_an_application_and_data_that_do_not_belong_together_are_not_offered():
    names = release(2, data=has(5))
    offered = plan(Rollout(1, 2), Rollout(2, 6), releases=(names, data(6)))
    assert decide(board(data=has(5)), offered).release.id == 2
    for other in ("", has(6)):
        assert decide(board(data=other), offered).kind == Kind.NOTHING
    runs = board(sequence=2, wants_data=True, data=has(5))
    assert decide(runs, offered).kind == Kind.NOTHING
    pinned = dataclasses.replace(board(data=has(6)), pin=2)
    assert "does not fit" in decide(pinned, offered).why
