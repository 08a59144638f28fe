"""Boards that ask: what they are given, what is written down, and several workers at once."""

import gzip
import hashlib
import threading
import time

import pytest
import sqlalchemy as sa
from asking import (
    Desk,
    board_headers,
    let_an_hour_pass,
    mac_of,
    question,
    release_image,
    sketch_headers,
)
from data_files import tar_image
from mpota.server import actions, decision, plan, rollouts
from mpota.server.database import (
    Attempt,
    Audit,
    Board,
    Clock,
    Database,
    Release,
    Rollout,
    change_plan,
)
from mpota.server.decision import Phase
from mpota.server.options import ENVIRONMENT, Options
from mpota.server.reception import Reception


@pytest.fixture
def desk(database, tmp_path, clock_stands):
    return Desk(database, tmp_path)


@pytest.fixture
def sqlite_desk(tmp_path, clock_stands):
    database = Database(f"sqlite:///{tmp_path / 'server.db'}")
    database.upgrade()
    yield lambda **options: Desk(database, tmp_path, **options)
    database.close()


def attempts(desk):
    with desk.database.reading() as session:
        return [
            (a.state, a.words, a.tries)
            for a in session.scalars(sa.select(Attempt).order_by(Attempt.id))
        ]


def statuses(desk, count=20, **told):
    return [desk.ask(board_headers(n, **told)).status for n in range(count)]


# An update


def test_a_board_is_given_a_release_and_what_becomes_of_it_is_history(desk):
    desk.roll_out(desk.add(release_image(2)))
    reply = desk.ask(board_headers())
    assert (reply.status, reply.release.version, reply.has_body) == (200, "2.0.0", True)
    assert attempts(desk) == [("open", "", 1)]
    assert desk.ask(board_headers(sequence=2, outcome="confirmed: 2")).status == 304
    assert attempts(desk) == [("confirmed", "confirmed: 2", 1)]
    with desk.database.reading() as session:
        board = session.scalars(sa.select(Board)).one()
        assert (board.version, board.sequence, board.floor) == ("2.0.0", 2, 2)


def test_a_release_that_was_taken_back_is_not_given_again_and_a_newer_one_is(desk):
    desk.roll_out(desk.add(release_image(2)), abort_minimum=9)
    said = "taken back: 2: raised ValueError: of no use"
    assert desk.ask(board_headers()).status == 200
    assert [desk.ask(board_headers(outcome=said)).status for _ in range(2)] == [304, 304]
    assert attempts(desk) == [("reverted", said, 1)]
    desk.roll_out(desk.add(release_image(3)))
    assert desk.ask(board_headers(outcome=said)).release.version == "3.0.0"


def test_a_download_that_breaks_off_is_repeated_for_an_hour_and_fails_then(desk):
    desk.roll_out(desk.add(release_image(2)))
    told = board_headers(outcome="failed: connection lost")
    assert [desk.ask(told).status for _ in range(5)] == [200] * 5
    assert attempts(desk) == [("open", "", 5)]
    let_an_hour_pass(desk.database)
    assert [desk.ask(told).status for _ in range(2)] == [304, 304]
    assert attempts(desk) == [("failed", "sent 5 times, and the board does not run it", 5)]


def test_a_board_that_was_away_for_an_hour_is_sent_the_release_as_often_as_any(desk):
    desk.roll_out(desk.add(release_image(2)))
    assert desk.ask(board_headers()).status == 200
    let_an_hour_pass(desk.database)
    told = board_headers(outcome="failed: connection lost")
    assert [desk.ask(told).status for _ in range(3)] == [200, 200, 304]
    assert attempts(desk) == [("failed", "failed: connection lost", 3)]


def test_a_download_that_goes_on_where_it_broke_off_is_no_further_try(desk):
    desk.roll_out(desk.add(release_image(2)))
    desk.ask(board_headers())
    for _ in range(5):
        assert desk.ask(board_headers(Range="bytes=1024-")).status == 200
    assert attempts(desk) == [("open", "", 1)]


def test_while_the_image_is_gone_no_try_is_used_up(desk):
    release = desk.add(release_image(2))
    desk.roll_out(release)
    path = desk.images.path(release.blob_sha256)
    away = path.rename(path.with_name("away"))
    replies = [desk.ask(board_headers()) for _ in range(4)]
    assert [reply.status for reply in replies] == [503] * 4 and replies[0].wait_s >= 60
    assert attempts(desk) == []
    away.rename(path)
    assert desk.ask(board_headers()).status == 200
    assert attempts(desk) == [("open", "", 1)]


def test_a_board_that_says_it_has_the_file_is_not_counted(desk):
    data = release_image(2)
    desk.roll_out(desk.add(data))
    tag = f'"{hashlib.md5(data).hexdigest()}"'
    assert desk.ask(board_headers(If_None_Match=tag)).status == 304
    assert attempts(desk) == []
    assert desk.ask(board_headers()).status == 200


def test_what_was_brought_otherwise_and_taken_back_is_not_offered(desk):
    desk.roll_out(desk.add(release_image(2)))
    said = "taken back: 2: raised OSError: 5"
    assert desk.ask(board_headers(outcome=said)).status == 304
    assert attempts(desk) == [("reverted", said, 0)]


def test_a_late_word_counts_more_than_the_time_out(desk):
    desk.roll_out(desk.add(release_image(2)), timeout_s=30, abort_minimum=9)
    desk.ask(board_headers())
    now = time.time()
    desk.tick(now)
    desk.tick(now + 31)
    assert attempts(desk) == [("timed out", "no word in time", 1)]
    assert desk.ask(board_headers()).status == 304
    desk.ask(board_headers(sequence=2, outcome="confirmed: 2"))
    assert attempts(desk) == [("confirmed", "confirmed: 2", 1)]


# Memory


def test_a_repeated_question_without_news_needs_no_database(desk, monkeypatch):
    desk.roll_out(desk.add(release_image(2)))
    assert [desk.ask(board_headers(sequence=2)).status for _ in range(2)] == [304, 304]
    monkeypatch.setattr(desk.reception, "database", None)
    for heap in (20000, 20500):
        assert desk.ask(board_headers(sequence=2, x_mpota_heap=heap)).status == 304


def test_when_the_plan_changes_nobody_is_answered_from_memory(desk):
    release = desk.add(release_image(2))
    assert desk.ask(board_headers()).status == 304
    desk.roll_out(release)
    assert desk.ask(board_headers()).status == 200


def test_a_board_is_given_nothing_by_a_plan_that_has_just_been_changed(desk):
    number = desk.roll_out(desk.add(release_image(2)))
    with desk.database.writing() as session:
        rollouts.hold(session, session.get(Rollout, number))
    # This worker has not heard of it yet.
    assert desk.ask(board_headers()).status == 304


def test_when_boards_were_seen_is_written_down_in_batches(desk):
    desk.roll_out(desk.add(release_image(2)))
    for number in range(5):
        desk.ask(board_headers(number, sequence=2, x_mpota_rssi=-70 - number))
    assert desk.reception.flush() == 5 and desk.reception.flush() == 0
    with desk.database.reading() as session:
        rows = session.scalars(sa.select(Board).order_by(Board.mac)).all()
        assert [row.rssi for row in rows] == [-70, -71, -72, -73, -74]
        assert all(time.time() - row.last_seen < 60 for row in rows)


# Several workers


@pytest.fixture
def workers(desk):
    """Yield four workers at the same database."""
    made = [Database(desk.database.url.render_as_string(False)) for _ in range(4)]
    yield [Reception(database, desk.options) for database in made]
    for database in made:
        database.close()


def at_once(functions):
    results, errors = [], []
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return results


def test_a_board_that_asks_two_workers_at_once_has_one_update(desk, workers):
    desk.roll_out(desk.add(release_image(2)))
    for number in range(4):
        asked = question(board_headers(number))
        replies = at_once([lambda w=worker, q=asked: w.ask(q) for worker in workers])
        assert {reply.status for reply in replies} <= {200, 304}
    made = attempts(desk)
    assert len(made) == 4 and all(tries <= 4 for _, _, tries in made)
    with desk.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Board)) == 4


def test_several_workers_together_keep_to_a_limit(desk, workers):
    desk.roll_out(desk.add(release_image(2)), downloads_at_once=3)
    asked = [question(board_headers(number)) for number in range(12)]
    replies = at_once([
        lambda w=worker, n=n: [w.ask(q).status for q in asked[n::4]]
        for n, worker in enumerate(workers)
    ])  # fmt: skip
    given = [status for statuses in replies for status in statuses]
    assert sorted(given) == [200] * 3 + [503] * 9
    assert len(attempts(desk)) == 3


def test_boards_that_find_a_limit_wait_for_no_other_worker(desk, workers):
    number = desk.roll_out(desk.add(release_image(2)), downloads_at_once=1)
    assert statuses(desk, 3) == [200, 503, 503]
    with desk.database.writing() as session:
        actions.find_rollout(session, number, lock=True)
        asked = [worker.ask(question(board_headers(1))).status for worker in workers]
    assert asked == [503] * 4


def test_what_one_worker_must_do_alone_no_other_does_meanwhile(postgres):
    one = Database(postgres())
    other = Database(one.url.render_as_string(False))
    one.upgrade()
    with one.writing() as session:
        assert one.try_lock(session)
        with other.writing() as second:
            assert not other.try_lock(second)
        rollouts.tick(other)
        assert session.get(Clock, 1).wall == 0
    rollouts.tick(other)
    with other.writing() as second:
        assert other.try_lock(second) and second.get(Clock, 1).wall > 0
    for database in (one, other):
        database.close()


def wait_until_somebody_waits(database):
    """Wait until a transaction waits for a lock that another one holds in the PostgreSQL."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.looking() as connection:
        deadline = time.monotonic() + 60
        while not connection.scalar(waiting):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_of_two_who_begin_a_roll_out_at_once_one_is_told_of_the_other(postgres, tmp_path):
    database = Database(postgres())
    database.upgrade()
    desk = Desk(database, tmp_path)
    release = desk.add(release_image(2))
    made, refused = decision.Rollout(0, release.id), []

    def second():
        has_begun.wait(60)
        try:
            desk.roll_out(release)
        except rollouts.ConflictError as error:
            refused.append(str(error))

    def first():
        with database.writing() as session:
            rollouts.start(session, session.get(Release, release.id), made)
            has_begun.set()
            wait_until_somebody_waits(database)

    has_begun = threading.Event()
    at_once([first, second])
    with database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Rollout)) == 1
    assert len(refused) == 1 and "has roll-out 1 already" in refused[0]
    database.close()


def test_the_tick_and_a_board_do_not_wait_for_each_other(postgres, tmp_path):
    database = Database(postgres())
    database.upgrade()
    desk = Desk(database, tmp_path)
    number = desk.roll_out(desk.add(release_image(2)), downloads_at_once=1, timeout_s=1)
    assert desk.ask(board_headers()).status == 200
    with database.writing() as session:
        session.execute(sa.update(Attempt).values(began_running_s=-100.0))

    def give():
        # As a board that is given the last place: first the roll-out, then its update.
        with database.writing() as session:
            wanted = sa.select(Rollout.id).where(Rollout.id == number)
            session.execute(wanted.with_for_update(key_share=True))
            is_locked.set()
            wait_until_somebody_waits(database)
            session.execute(sa.update(Attempt).values(tries=2))

    def tick():
        is_locked.wait(60)
        rollouts.tick(database)

    is_locked = threading.Event()
    at_once([give, tick])
    assert [(state, tries) for state, _, tries in attempts(desk)] == [("timed out", 2)]
    database.close()


def test_time_passes_once_whatever_many_workers_tick(desk, workers, clock_stands):
    desk.roll_out(desk.add(release_image(2)), phases=(Phase(10, soak_s=100), Phase(50)))
    now = time.time()
    desk.tick(now)
    clock_stands(now + 10)
    at_once([lambda w=w: rollouts.tick(w.database, 1.0) for w in workers])
    with desk.database.reading() as session:
        assert session.scalar(sa.select(Rollout.soaked_s)) == pytest.approx(10)


def test_machines_whose_clocks_differ_do_not_hurry_the_servers_time(postgres, monkeypatch):
    database = Database(postgres())
    database.upgrade()
    real, start = time.time, time.monotonic()
    rollouts.tick(database)
    with database.reading() as session:
        begun = session.get(Clock, 1).running_s
    for differs_s in (40, 0) * 5:
        monkeypatch.setattr(time, "time", lambda d=differs_s: real() + d)
        with database.writing() as session:
            plan.tick(session)
    with database.reading() as session:
        assert session.get(Clock, 1).running_s - begun < time.monotonic() - start + 1
    database.close()


# Who may ask


def test_unknown_boards_wait_for_an_operator(sqlite_desk):
    desk = sqlite_desk(unknown="pending", pending_limit=2)
    desk.roll_out(desk.add(release_image(2)))
    assert statuses(desk, 3) == [304, 304, 403]
    with desk.database.writing() as session:
        session.execute(sa.update(Board).values(state="accepted"))
        change_plan(session)
    desk.reception.refresh()
    assert statuses(desk, 2) == [200, 200]


def test_unknown_boards_are_refused_where_the_server_says_so(sqlite_desk):
    desk = sqlite_desk(unknown="refuse")
    desk.roll_out(desk.add(release_image(2)))
    assert statuses(desk, 2) == [403, 403]
    with desk.database.writing() as session:
        session.add(Board(mac=mac_of(1).replace(":", ""), state="accepted"))
    assert statuses(desk, 2) == [403, 200]


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_secret_of_the_fleet_is_wanted_of_all_and_a_boards_own_goes_before_it(sqlite_desk):
    desk = sqlite_desk(fleet_secret_sha256=sha256("of-all"))
    desk.roll_out(desk.add(release_image(2)))
    basic = {"Authorization": "Basic b3RhOm9mLWFsbA=="}  # ota:of-all
    assert statuses(desk, 1) == [401]
    assert statuses(desk, 1, x_mpota_secret="wrong") == [401]
    assert statuses(desk, 1, **basic) == [200]
    assert statuses(desk, 1, x_mpota_secret="of-all") == [200]
    assert statuses(desk, 1, Authorization="Basic x=x") == [401]
    with desk.database.writing() as session:
        session.execute(sa.update(Board).values(secret_sha256=sha256("of-one")))
        change_plan(session)
    desk.reception.refresh()
    assert statuses(desk, 1, x_mpota_secret="of-all") == [401]
    assert statuses(desk, 1, x_mpota_secret="of-one") == [200]


def test_where_each_board_needs_a_secret_one_without_is_not_known(sqlite_desk):
    desk = sqlite_desk(board_secrets=True)
    assert statuses(desk, 1, x_mpota_secret="mine") == [401]
    with desk.database.writing() as session:
        mac = mac_of(0).replace(":", "")
        session.add(Board(mac=mac, state="accepted", secret_sha256=sha256("mine")))
        session.add(Board(mac=mac_of(1).replace(":", ""), state="accepted"))
    assert statuses(desk, 2, x_mpota_secret="mine") == [404, 401]


# Sketches


def test_a_sketch_is_given_a_release_of_the_path_or_of_the_only_application(sqlite_desk):
    desk = sqlite_desk()
    data = gzip.compress(b"\xe9" + bytes(3000), mtime=0)
    desk.roll_out(desk.add(data, application="blink", version="7"))
    reply = desk.ask(sketch_headers(x_ESP8266_version="6"))
    assert (reply.status, reply.release.version, reply.release.sequence) == (200, "7", 1)
    assert desk.ask(sketch_headers(x_ESP8266_version="7")).status == 304
    assert attempts(desk) == [("confirmed", "", 1)]
    inner = hashlib.md5(b"\xe9" + bytes(3000)).hexdigest()
    for md5 in (inner, hashlib.md5(data).hexdigest()):
        assert desk.ask(sketch_headers(2, x_ESP8266_sketch_md5=md5)).status == 304
    assert desk.ask(sketch_headers(3), "/other").status == 404
    assert desk.ask(sketch_headers(3), "/blink").status == 200


def test_the_version_is_told_without_an_image_and_without_an_update(sqlite_desk):
    desk = sqlite_desk()
    desk.roll_out(desk.add(release_image(2)))
    reply = desk.ask(board_headers(x_ESP8266_mode="version"))
    assert (reply.status, reply.release.version, reply.has_body) == (200, "2.0.0", False)
    assert desk.ask(board_headers(x_ESP8266_mode="spiffs")).status == 404
    assert attempts(desk) == []


# Data

DATA = tar_image({"page.html": b"<p>"})
TOLD = hashlib.sha256(DATA).hexdigest()[:32]


def ask_for_data(desk, number=1, data="", **told):
    return desk.ask(board_headers(number, x_ESP8266_mode="spiffs", x_mpota_data=data, **told))


def test_a_board_may_be_in_an_update_of_its_data_and_of_its_application(desk):
    desk.roll_out(desk.add(release_image(2)))
    release = desk.add(DATA, application="garden", version="2.0.0")
    assert (release.kind, release.sequence) == ("data", 1)
    desk.roll_out(release)
    assert desk.ask(board_headers(1)).release.sequence == 2
    assert ask_for_data(desk).release.is_data
    assert attempts(desk) == [("open", "", 1), ("open", "", 1)]
    said = board_headers(1, sequence=2, outcome="confirmed: data")
    assert desk.ask(said).status == 304
    assert [state for state, _, _ in attempts(desk)] == ["confirmed", "confirmed"]
    assert ask_for_data(desk, sequence=2, data=TOLD).status == 304
    assert desk.ask(said).status == 304


def test_a_board_with_new_data_gets_the_application_that_names_them_from_any_worker(desk):
    other = Reception(desk.database, desk.options)
    desk.roll_out(desk.add(release_image(2, data=TOLD)))
    assert ask_for_data(desk, data="ab" * 16).status == 404
    asks = question(board_headers(1))
    for worker in (other, desk.reception):
        assert [(worker.quick(asks) or worker.ask(asks)).status for _ in range(2)] == [304, 304]
    assert ask_for_data(desk, data=TOLD).status == 404
    for worker in (other, desk.reception):
        assert (worker.quick(asks) or worker.ask(asks)).status == 200


def test_a_board_that_says_which_data_it_has_need_say_nothing_else(desk):
    desk.roll_out(desk.add(DATA, application="garden", version="1"))
    old = {"outcome": "confirmed: data"}
    assert ask_for_data(desk, data="ab" * 16, **old).status == 200
    assert desk.ask(board_headers(1, **old)).status == 404
    assert attempts(desk) == [("open", "", 1)]
    assert ask_for_data(desk, data=TOLD, **old).status == 304
    assert attempts(desk) == [("confirmed", "confirmed: data", 1)]


def test_data_that_break_off_are_sent_again_and_fail_after_an_hour(desk):
    desk.roll_out(desk.add(DATA, application="garden", version="1"))
    # What a board says of data before is not about these.
    old = {"outcome": "taken back: data: it hung"}
    assert [ask_for_data(desk, **old).status for _ in range(3)] == [200] * 3
    let_an_hour_pass(desk.database)
    assert [ask_for_data(desk, **old).status for _ in range(2)] == [304] * 2
    assert attempts(desk) == [("failed", "sent 3 times, and the board does not run it", 3)]


def test_data_that_were_taken_back_are_not_given_again_and_others_are(desk):
    desk.roll_out(desk.add(DATA, application="garden", version="1"), abort_minimum=9)
    said = "taken back: data: raised ValueError: bad data"
    assert ask_for_data(desk).status == 200
    assert [ask_for_data(desk, outcome=said).status for _ in range(2)] == [304, 304]
    assert attempts(desk) == [("reverted", said, 1)]
    other = tar_image({"page.html": b"<p>two"})
    desk.roll_out(desk.add(other, application="garden", version="2"))
    assert ask_for_data(desk, outcome=said).release.version == "2"


def test_a_sketch_gets_data_and_both_answers_come_from_memory(sqlite_desk, monkeypatch):
    desk = sqlite_desk()
    desk.roll_out(desk.add(DATA, application="blink", version="pages-2"))
    desk.roll_out(desk.add(b"\xe9" + bytes(3000), application="blink", version="7"))
    told = {"x_ESP8266_mode": "spiffs", "x_ESP8266_version": "pages-1"}
    assert desk.ask(sketch_headers(**told), "/blink").release.is_data
    told["x_ESP8266_version"] = "pages-2"
    runs = sketch_headers(x_ESP8266_version="7")
    for _ in range(2):
        assert desk.ask(sketch_headers(**told), "/blink").status == 304
        assert desk.ask(runs, "/blink").status == 304
    assert attempts(desk) == [("confirmed", "", 1)]
    monkeypatch.setattr(desk.reception, "database", None)
    for _ in range(2):
        assert desk.ask(sketch_headers(**told), "/blink").status == 304
        assert desk.ask(runs, "/blink").status == 304


# Roll-outs


def test_a_roll_out_goes_through_its_phases(desk):
    desk.roll_out(desk.add(release_image(2)), phases=(Phase(30, soak_s=60), Phase()))
    first = [n for n, status in enumerate(statuses(desk)) if status == 200]
    assert 1 <= len(first) < 15
    now = time.time()
    desk.tick(now)
    desk.tick(now + 50)
    assert desk.tick(now + 100) == []  # nobody has confirmed it
    desk.ask(board_headers(first[0], sequence=2, outcome="confirmed: 2"))
    assert "running: phase 2: 100 %" in desk.tick(now + 101)[0]
    assert statuses(desk).count(200) >= 20 - len(first)
    assert "complete" in desk.tick(now + 102)[0]
    assert desk.ask(board_headers(99)).status == 200  # a board that comes late


def why(desk, number):
    with desk.database.reading() as session:
        return session.get(Rollout, number).why


def test_a_phase_waits_for_no_more_boards_than_are_in_it(desk):
    assert statuses(desk, 3, x_mpota_name="garden") == [404] * 3
    release = desk.add(release_image(2))
    phases = (Phase(1e-6, soak_s=60), Phase(needed=50))
    desk.roll_out(release, phases=phases)
    now = time.time()
    for seconds in (0, 50):
        assert desk.tick(now + seconds) == []
    assert "running: phase 2: 100 %" in desk.tick(now + 70)[0]
    for board in range(3):
        assert desk.tick(now + 71 + board) == []
        assert desk.ask(board_headers(board)).status == 200
        desk.ask(board_headers(board, sequence=2, outcome="confirmed: 2"))
    assert "complete" in desk.tick(now + 80)[0]


@pytest.mark.parametrize(
    "told",
    [{"sequence": 2, "outcome": "confirmed: 2"},
     {"sequence": 3, "outcome": "confirmed: 3"},
     {"outcome": "taken back: 2: it hung"}],
)  # fmt: skip
def test_a_phase_waits_for_no_board_that_cannot_be_given_the_release(desk, told):
    release = desk.add(release_image(2))
    desk.ask(board_headers(0, **told))  # what mpota upload has brought
    desk.roll_out(release, phases=(Phase(100, soak_s=60, needed=2), Phase()))
    assert desk.ask(board_headers(0, **told)).status == 304
    now = time.time()
    assert [desk.tick(now + seconds) for seconds in (0, 30)] == [[], []]
    assert "phase 2" in desk.tick(now + 60)[0]
    assert "complete" in desk.tick(now + 61)[0]


def test_a_phase_waits_for_no_board_that_the_release_failed_on_before(desk):
    release = desk.add(release_image(2))
    first = desk.roll_out(release, abort_minimum=9)
    assert statuses(desk, 2) == [200] * 2
    desk.ask(board_headers(0, outcome="taken back: 2: it hung"))
    now = time.time()
    # Operators look after a board on which the release fails in the roll-out itself.
    assert [desk.tick(now + seconds) for seconds in (0, 1)] == [[], []]
    desk.move(first, rollouts.cancel)
    desk.roll_out(release, phases=(Phase(needed=2),), abort_minimum=9)
    assert statuses(desk, 2) == [304, 200]
    assert desk.tick(now + 2) == []
    desk.ask(board_headers(1, sequence=2, outcome="confirmed: 2"))
    assert "complete" in desk.tick(now + 3)[0]


@pytest.mark.parametrize("tells", ["version", "data"])
def test_a_phase_waits_for_no_board_that_has_the_sketch_or_the_data_already(desk, tells):
    if tells == "version":
        desk.roll_out(desk.add(b"\xe9" + bytes(3000), application="blink", version="7"))
        old, new = (sketch_headers(x_ESP8266_version=version) for version in ("6", "7"))
    else:
        desk.roll_out(desk.add(DATA, application="blink", version="7"))
        asks = {"x_ESP8266_mode": "spiffs", "x_mpota_name": "blink"}
        old, new = (board_headers(x_mpota_data=sha, **asks) for sha in ("ab" * 16, TOLD))
    now = time.time()
    with desk.database.writing() as session:
        session.add(Board(mac=mac_of(1).replace(":", ""), state="accepted", application="blink"))
    assert [desk.tick(now + seconds) for seconds in (0, 1)] == [[], []]
    assert desk.ask(old, "/blink").status == 200
    with desk.database.writing() as session:
        session.execute(sa.delete(Attempt))  # as if something else had brought it
    assert desk.tick(now + 2) == []
    desk.ask(new, "/blink")
    assert "complete" in desk.tick(now + 3)[0]


def test_a_roll_out_for_no_board_says_so_and_waits_for_one(desk):
    number = desk.roll_out(desk.add(release_image(2)), phases=(Phase(100), Phase(100)))
    now = time.time()
    for seconds in (0, 60, 120):
        assert desk.tick(now + seconds) == []
    assert why(desk, number) == "no board is in this phase"
    desk.ask(board_headers())
    assert desk.tick(now + 121) == []
    assert why(desk, number) == ""
    desk.ask(board_headers(sequence=2, outcome="confirmed: 2"))
    assert "phase 2" in desk.tick(now + 122)[0]


def test_a_roll_out_stops_by_itself_and_says_why(desk):
    number = desk.roll_out(desk.add(release_image(2)), abort_share=0.2, abort_minimum=3)
    assert statuses(desk, 4) == [200] * 4
    desk.ask(board_headers(0, sequence=2, outcome="confirmed: 2"))
    for board in (1, 2):
        desk.ask(board_headers(board, outcome="taken back: 2: it hung"))
    said = desk.tick(time.time())
    assert "aborted: 2 of 3 boards did not keep the release" in said[0]
    assert statuses(desk, 10) == [304] * 10
    with desk.database.reading() as session:
        assert session.get(Rollout, number).state == "aborted"
        (entry,) = session.scalars(sa.select(Audit))
        assert (entry.operator, entry.what) == ("", "roll-out aborted")
        assert "2 took it back" in entry.detail


def test_a_roll_out_that_is_complete_is_counted_when_an_update_has_ended(desk, monkeypatch):
    counted, count = [], rollouts.counts

    def noted(session, numbers):
        counted.append(list(numbers))
        return count(session, numbers)

    monkeypatch.setattr(rollouts, "counts", noted)
    number = desk.roll_out(desk.add(release_image(2)), phases=(Phase(needed=0),), abort_minimum=1)
    now = time.time()
    for seconds in (0, 1, 2):
        desk.tick(now + seconds)
    assert desk.ask(board_headers()).status == 200
    desk.tick(now + 3)
    assert counted == [[number], []]  # while nothing goes on there are few ticks
    desk.ask(board_headers(outcome="taken back: 2: it hung"))
    assert "aborted" in desk.tick(now + 60)[0]


def test_boards_are_given_updates_while_the_tick_looks_at_their_roll_out(postgres, tmp_path):
    database = Database(postgres())
    database.upgrade()
    desk = Desk(database, tmp_path)
    number = desk.roll_out(desk.add(release_image(2)))
    with database.writing() as session:
        actions.find_rollout(session, number, lock=True)
        assert desk.ask(board_headers()).status == 200
    database.close()


def test_time_outs_are_failures(desk):
    desk.roll_out(desk.add(release_image(2)), abort_minimum=2, timeout_s=20)
    assert statuses(desk, 2) == [200] * 2
    now = time.time()
    assert desk.tick(now) == []
    assert "2 timed out" in desk.tick(now + 30)[0]


def test_while_a_roll_out_is_paused_no_boards_time_runs_out(desk, clock_stands):
    number = desk.roll_out(desk.add(release_image(2)), abort_minimum=1, timeout_s=30)
    assert statuses(desk, 2) == [200] * 2
    now = time.time()
    desk.tick(now)
    desk.move(number, rollouts.hold)
    for seconds in (20, 40, 60):
        assert desk.tick(now + seconds) == []
    clock_stands(now + 60)
    desk.move(number, rollouts.resume)
    assert desk.tick(now + 61) == []
    assert attempts(desk) == [("open", "", 1)] * 2
    assert "2 timed out" in desk.tick(now + 91)[0]


def test_the_time_of_a_board_that_finds_a_limit_begins_anew(desk):
    desk.roll_out(desk.add(release_image(2)), downloads_at_once=1, timeout_s=40, abort_minimum=9)
    now = time.time()
    desk.tick(now)
    assert desk.ask(board_headers(0)).status == 200
    for seconds, number in ((31, 1), (32, 0), (62, 2), (63, 0)):
        desk.tick(now + seconds)
        assert desk.ask(board_headers(number)).status == (200 if number else 503)
    desk.tick(now + 72)
    assert attempts(desk)[0] == ("open", "", 1)
    desk.tick(now + 103)
    assert attempts(desk)[0][0] == "timed out"


def test_the_time_of_a_board_whose_image_is_gone_begins_anew(desk):
    release = desk.add(release_image(2))
    desk.roll_out(release, timeout_s=40, abort_minimum=9)
    now = time.time()
    desk.tick(now)
    assert desk.ask(board_headers()).status == 200
    desk.images.path(release.blob_sha256).unlink()
    for seconds in (30, 60):
        desk.tick(now + seconds)
        assert desk.ask(board_headers()).status == 503
    desk.tick(now + 90)
    assert attempts(desk) == [("open", "", 1)]


def test_no_more_downloads_begin_in_a_minute_than_the_roll_out_allows(desk):
    desk.roll_out(desk.add(release_image(2)), downloads_per_minute=2, abort_minimum=9)
    now = time.time()
    desk.tick(now)
    assert statuses(desk, 5) == [200, 200, 503, 503, 503]
    # That one update is over makes no room in this minute; and who was sent away has not failed.
    desk.ask(board_headers(0, sequence=2, outcome="confirmed: 2"))
    assert desk.ask(board_headers(2)).wait_s >= 60
    for seconds in (30, 61):
        desk.tick(now + seconds)
    assert [desk.ask(board_headers(n)).status for n in (2, 3, 4)] == [200, 200, 503]
    assert [state for state, _, _ in attempts(desk)] == ["confirmed", "open", "open", "open"]


@pytest.mark.parametrize("limit", ["downloads_at_once", "downloads_per_minute"])
def test_a_board_whose_download_broke_off_is_not_kept_away_by_itself(desk, limit):
    desk.roll_out(desk.add(release_image(2)), **{limit: 1})
    assert desk.ask(board_headers()).status == 200
    assert desk.ask(board_headers(Range="bytes=1024-")).status == 200
    assert desk.ask(board_headers()).status == 200  # as after a restart
    assert desk.ask(board_headers(2)).status == 503
    assert attempts(desk) == [("open", "", 2)]


def test_a_roll_out_is_paused_resumed_and_cancelled(desk):
    number = desk.roll_out(desk.add(release_image(2)))

    def do(change):
        desk.move(number, change)
        return desk.ask(board_headers()).status

    assert [do(c) for c in (rollouts.hold, rollouts.resume, rollouts.cancel)] == [304, 200, 304]
    for change in (rollouts.hold, rollouts.resume, rollouts.cancel):
        with pytest.raises(rollouts.ConflictError, match="is cancelled"):
            do(change)


def test_updates_of_a_cancelled_roll_out_do_not_count_in_the_next_one_of_the_release(desk):
    release = desk.add(release_image(2))
    first = desk.roll_out(release)
    assert statuses(desk, 2) == [200] * 2
    desk.move(first, rollouts.cancel)
    second = desk.roll_out(release, downloads_at_once=1)
    assert statuses(desk, 2) == [200, 503]
    desk.ask(board_headers(0, sequence=2, outcome="confirmed: 2"))
    assert [desk.ask(board_headers(n)).status for n in (1, 2)] == [200, 503]
    with desk.database.reading() as session:
        counted = rollouts.counts(session, [first, second])
        assert (counted[second].confirmed, counted[second].open) == (1, 1)
        assert counted[first].finished == counted[first].open == 0


def test_what_is_open_when_a_roll_out_is_cancelled_does_not_fail_by_time(desk):
    release = desk.add(release_image(2))
    first = desk.roll_out(release, timeout_s=30)
    assert statuses(desk, 2) == [200] * 2
    now = time.time()
    desk.tick(now)
    desk.move(first, rollouts.cancel)
    desk.tick(now + 31)
    assert attempts(desk) == [("replaced", "no word in time", 1)] * 2
    second = desk.roll_out(release)
    assert statuses(desk, 2) == [200] * 2
    with desk.database.reading() as session:
        counted = rollouts.counts(session, [first, second])
    assert counted[first].bad == 0 and counted[second].open == 2


def test_a_clock_that_jumps_ends_no_phase_and_times_nobody_out(desk):
    desk.roll_out(
        desk.add(release_image(2)), phases=(Phase(50, soak_s=3600), Phase()), timeout_s=3600
    )
    given = statuses(desk).count(200)
    now = time.time()
    desk.tick(now)
    for jump in (86400 * 365, -86400 * 365, 86400, 0):
        assert desk.tick(now + jump) == []
    assert attempts(desk) == [("open", "", 1)] * given


def test_groups_channels_and_pins_hold(desk):
    desk.roll_out(desk.add(release_image(2)), groups=frozenset({"lab"}))
    beta = desk.add(release_image(3), channel="beta")
    desk.roll_out(beta)
    assert statuses(desk, 4) == [304] * 4
    for number, values in (
        (0, {"group_name": "lab"}),
        (1, {"channel": "beta"}),
        (2, {"pin_id": beta.id}),
    ):
        with desk.database.writing() as session:
            mac = mac_of(number).replace(":", "")
            session.execute(sa.update(Board).where(Board.mac == mac).values(values))
            change_plan(session)
    desk.reception.refresh()
    replies = [desk.ask(board_headers(number)) for number in range(4)]
    assert [r.release and r.release.version for r in replies] == ["2.0.0", "3.0.0", "3.0.0", None]


def test_options_reach_a_worker_as_they_are(monkeypatch):
    options = Options("/x", unknown="refuse", keys=("a", "b"), proxies=("127.0.0.1",))
    for name, value in options.to_environment().items():
        monkeypatch.setenv(name, value)
    assert Options.from_environment() == options
    monkeypatch.setenv(ENVIRONMENT, '{"folder": "/x"}')
    assert Options.from_environment() == Options("/x")
