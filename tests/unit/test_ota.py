"""OTA: when a boot is healthy, how long a trial may last, what is logged, and what is unloaded."""

import json
import socket
import sys
import time

import ota
from fake_clock import Clock
from hardware_stubs import Reset, Station
from ota import OTA, OTAError, Updater, hal, record
from sample_image import empty_board, fill_slot, image, runs

_PORT = 8266
_DAY_MS = 24 * 3600 * 1000

with open("/ota.json", "w") as _f:
    json.dump({"ssid": "home", "key": "geheim", "mdns": False}, _f)


class Board(Clock):
    """The services of a board, which have begun, and its clock; *trial* says whether b is on it."""

    def __init__(self, trial=False, **settings):
        empty_board()
        fill_slot("a", image(7))
        fill_slot("b", image(8))
        r = record.Record()
        r.active, r.trial = "a", "b" if trial else None
        r.received = {"a": (7, 1, b""), "b": (8, 1, b"")}
        r.store()
        runs("b" if trial else "a", trial)
        Station.connected = True
        self.ota = OTA(**settings)

    def __enter__(self):
        super().__enter__()
        self.ota.begin()
        return self

    def __exit__(self, *_):
        super().__exit__()
        self.ota.arduino.end()

    def handle_until(self, end_ms, step_ms=1000):
        """Let the application call handle() every *step_ms*, the last time at *end_ms*."""
        while self.now < end_ms:
            self.wait(step_ms)
            self.ota.handle()

    def handle_until_reset(self, step_ms=500):
        """Call it until the board resets; return when that is."""
        try:
            self.handle_until(10000000, step_ms)
        except Reset:
            return self.now
        raise AssertionError("no reset")

    @property
    def is_on_trial(self):
        r = record.load()
        assert (r.active, r.trial) in (("a", "b"), ("b", None))
        return bool(r.trial)


class Said:
    """While this is entered, `count` counts the exceptions that the services print."""

    count = 0

    def __enter__(self):
        class Sys:
            modules = sys.modules
            path = sys.path

            def print_exception(_, e):
                self.count += 1

        ota.sys = Sys()
        return self

    def __exit__(self, *_):
        ota.sys = sys


# The interface


def test_what_an_application_imports_is_there():
    from ota import Updater, updater
    from ota.errors import OTAError as Error

    assert OTAError is Error and Updater is updater.Updater
    try:
        from ota import nothing_of_this_name  # noqa: F401

        raise AssertionError("it is there")
    except (AttributeError, ImportError):
        pass


def test_handle_begins_if_the_application_has_not():
    services = Board().ota
    assert not services.is_updating and services.services == ()
    services.handle()
    assert services.arduino and services.services == [services.arduino]
    assert not services.is_updating
    services.arduino.end()


def test_begin_does_nothing_the_second_time():
    with Board("b") as board:
        arduino, watchdog = board.ota.arduino, board.ota.watchdog
        board.ota.begin()
        assert board.ota.arduino is arduino and board.ota.watchdog is watchdog


def test_which_slot_runs_and_whether_it_is_on_trial():
    for slot, is_trial in (("a", False), ("b", False), ("a", True), ("b", True), (None, False)):
        runs(slot, is_trial)
        services = OTA()
        services.begin()
        assert (services.slot, services.trial) == (slot, is_trial)
        assert (services.watchdog is not None) == is_trial
        assert not services.is_alone
        services.arduino.end()


def test_the_host_name_is_made_of_the_chip_s_id_unless_it_is_set():
    for settings, name in (({}, "esp8266-" + hal.chip_id()), ({"hostname": "valves"}, "valves")):
        with Board(**settings) as board:
            assert board.ota.settings["hostname"] == name


def test_the_largest_image_that_is_taken():
    assert OTA().free_space() == 102144


def test_a_callback_may_call_handle():
    with Board() as board:
        seen = []

        def handle():
            seen.append(board.ota.handle())
            return False

        board.ota.arduino.handle = handle
        assert board.ota.handle() is False
        assert seen == [True]
        assert board.ota.handle() is False and seen == [True, True]


def test_an_update_goes_on_as_long_as_a_session_or_an_updater_does():
    with Board() as board:
        assert not board.ota.is_updating
        board.ota.updater = object()
        assert board.ota.is_updating
        board.ota.updater = None
        board.ota.arduino.session = object()
        assert board.ota.is_updating
        board.ota.arduino.session = None
        assert not board.ota.is_updating


def test_handle_tells_whether_a_service_is_busy_and_gives_each_a_step():
    class Service:
        session = None
        busy = False
        steps = 0

        def handle(self):
            self.steps += 1
            return self.busy

    with Board() as board:
        one, other = Service(), Service()
        board.ota.services = [one, other]
        for one.busy, other.busy in ((False, False), (True, False), (False, True), (True, True)):
            assert board.ota.handle() is (one.busy or other.busy)
        assert one.steps == other.steps == 4
        # Without a network only who is at work, so that it can come to its end.
        Station.connected = False
        other.session = other
        board.ota.handle()
        assert (one.steps, other.steps) == (4, 5)


def test_a_service_that_fails_keeps_no_other_from_its_work():
    class Broken:
        session = None

        def handle(self):
            raise OSError("no port is left")

    class Good:
        session = None
        steps = 0

        def handle(self):
            self.steps += 1

    with Board() as board, Said() as said:
        good = Good()
        board.ota.services = [Broken(), good]
        board.ota.handle()
        assert good.steps == 1 and said.count == 1


def test_an_update_that_the_application_has_forgotten_is_discarded_after_a_minute():
    with Board() as board:
        codes = []
        board.ota.on_error(codes.append)
        forgotten = Updater(board.ota)
        forgotten.begin(1000)
        board.handle_until(50000)
        forgotten.write(b"x")
        board.handle_until(105000)
        assert board.ota.is_updating and not codes
        board.handle_until(115000)
        assert not board.ota.is_updating and codes == [6]
        # An application may be away for longer, if it has written something when it is back.
        slow = Updater(board.ota)
        slow.begin(1000)
        board.wait(100000)
        slow.write(b"x")
        board.ota.handle()
        assert slow.is_running
        slow.abort(6)
        # A service looks after its own update.
        fed = Updater(board.ota)
        fed.begin(1000)
        board.ota.arduino.session = board.ota.arduino
        board.ota.arduino.step = board.ota.arduino.close = lambda: False
        board.handle_until(300000)
        assert fed.is_running
        board.ota.arduino.session = None
        fed.abort(6)


def test_run_gives_other_tasks_their_turn():
    import asyncio

    async def main():
        task = asyncio.create_task(services.run())
        for _ in range(3):
            await asyncio.sleep_ms(20)
        task.cancel()

    services = Board().ota
    handled = []
    services.handle = lambda: handled.append(1)
    asyncio.run(main())
    assert 2 <= len(handled) <= 20


# Callbacks


def test_ota_s_own_callbacks_are_called_first_and_then_the_service_s():
    calls = []
    services, service = OTA(), ota.Callbacks()
    for name, callbacks in (("ota", services), ("service", service)):
        for event in ("start", "end", "progress", "error"):
            register = getattr(callbacks, "on_" + event)
            register(lambda *args, who=name, what=event: calls.append((who, what) + args))
    services.call("start", service)
    services.call("progress", service, 1, 2)
    services.call("end", None)
    services.call("error", service, 4)
    assert calls == [
        ("ota", "start"),
        ("service", "start"),
        ("ota", "progress", 1, 2),
        ("service", "progress", 1, 2),
        ("ota", "end"),
        ("ota", "error", 4),
        ("service", "error", 4),
    ]


def test_only_what_on_start_raises_is_heard():
    def broken(*args):
        raise ValueError("broken")

    services, service = OTA(), ota.Callbacks()
    called = []
    for event in ("end", "progress", "error"):
        getattr(services, "on_" + event)(broken)
        getattr(service, "on_" + event)(lambda *args: called.append(args))
    services.call("end", service)
    services.call("progress", service, 1, 2)
    services.call("error", service, 1)
    assert called == [(), (1, 2), (1,)]
    services.on_start(broken)
    try:
        services.call("start", service)
        raise AssertionError("no ValueError")
    except ValueError:
        pass


# Whether updates are allowed


def test_the_window_or_the_gate_allows_updates():
    def raises():
        raise ValueError("gate")

    with Clock() as clock:
        for gate, allowed in (
            (None, True),
            (lambda: True, True),
            (lambda: 1, True),
            (lambda: False, False),
            (lambda: None, False),
            (raises, False),
        ):
            services = OTA()
            services.gate = gate
            assert services.allows_updates() is allowed
            services.allow_for(10**9)  # for as long as ticks can tell
            services.allow_for(10)
            clock.wait(9999)
            assert services.allows_updates() is True
            clock.wait(1)
            # Then only the gate does.
            assert services.allows_updates() is (allowed and gate is not None)


def test_a_window_that_is_over_stays_closed_when_ticks_come_round():
    with Board() as board:
        board.ota.arduino.handle = lambda: False
        board.ota.allow_for(10)
        board.handle_until(9000)
        assert board.ota.allows_updates()
        board.handle_until(11000)
        assert board.ota.window == 0
        for _ in range(13):
            board.wait(_DAY_MS)
            assert not board.ota.allows_updates()


def test_a_board_has_a_password_if_a_host_must_prove_anything():
    for settings, has in (
        ({}, False),
        ({"auth": "classic"}, False),
        ({"password": ""}, False),
        ({"password": None}, False),
        ({"auth": "strict"}, True),
        ({"password": "x"}, True),
        ({"password_hash": "0" * 32}, True),
        ({"password_sha256": "0" * 64}, True),
    ):
        assert OTA(**settings).has_password() is has, settings


# Health


def test_a_trial_is_confirmed_after_60_healthy_seconds_unless_set_otherwise():
    for settings, ms in (({}, 60000), ({"confirm_s": 120}, 120000), ({"confirm_s": 0.5}, 500)):
        with Board(True, **settings) as board:
            board.handle_until(ms - 100, 100)
            assert board.is_on_trial and not board.ota.healthy
            timer = board.ota.watchdog.timer
            board.handle_until(ms, 100)
            assert not board.is_on_trial and board.ota.healthy
            assert hal.get_state() == (0, "b") and not board.ota.trial
            assert board.ota.watchdog is None and not timer.is_running


class Page:
    """Replaces the update page, with two browsers that have it open."""

    socket = None

    def __init__(self, is_updating=False):
        self.is_updating = is_updating
        self.session = [self, self]
        self.closed = 0

    def close(self):
        self.closed += 1

    def handle(self):
        return False


def test_what_an_answer_has_loaded_has_left_when_a_trial_is_judged():
    # It would count as the application's. The room is looked at just before that.
    with Board(True) as board:
        events = []
        board.handle_until(59000)
        unload, room = board.ota.unload, ota.check_room
        board.ota.unload = lambda *modules: (events.append("unload"), unload(*modules))
        ota.check_room = lambda: events.append("room")
        try:
            board.handle_until(61000)
        finally:
            ota.check_room = room
        assert not board.is_on_trial and events[:2] == ["unload", "room"], events


def test_whoever_looks_at_the_page_gives_way_to_the_end_of_a_trial():
    # What the page takes of the heap would count as the application's.
    for trial, closed in ((True, 2), (False, 0)):
        with Board(trial) as board:
            board.ota.own_web = page = Page()
            board.handle_until(59000)
            assert page.closed == 0
            board.handle_until(60000)
            assert page.closed == closed and board.ota.healthy


def test_a_boot_becomes_healthy_after_the_update_that_goes_on_then():
    with Board() as board:
        board.ota.own_web = page = Page(True)
        board.handle_until(70000)
        assert not board.ota.healthy
        page.is_updating = False
        board.handle_until(71000)
        assert board.ota.healthy


def test_a_boot_counts_as_healthy_after_60_seconds():
    with Board() as board:
        hal.set_state(4, "a")
        board.handle_until(59000)
        assert hal.get_state() == (4, "a")
        board.handle_until(60000)
        assert hal.get_state() == (0, "a")


def test_where_there_is_no_room_for_a_module_none_is_imported():
    def no_room():
        raise MemoryError

    real = ota.check_room
    with Board() as board, Said() as said:
        ota.check_room = no_room
        try:
            board.handle_until(70000)
        finally:
            ota.check_room = real
        assert said.count and not board.ota.healthy
        board.handle_until(140000)
        assert board.ota.healthy


def test_an_application_that_was_away_for_more_than_5_s_begins_anew():
    for away_ms, healthy in ((5000, True), (5001, False)):
        with Board() as board:
            board.handle_until(40000)
            board.handle_until(40000 + away_ms, away_ms)
            board.handle_until(60500, 500)
            assert board.ota.healthy is healthy, away_ms


def test_a_moment_without_a_network_begins_anew():
    with Board() as board:
        board.handle_until(40000)
        Station.connected = False
        board.handle_until(41000)
        Station.connected = True
        board.handle_until(100000)
        assert not board.ota.healthy
        board.handle_until(101000)
        assert board.ota.healthy


def test_a_listener_that_raises_is_not_healthy():
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with Board(True) as board, Said():
        taken.bind(("", _PORT))  # so that the board's own cannot listen
        board.handle_until(300000, 5000)
        assert board.is_on_trial and not board.ota.healthy
        taken.close()
        board.handle_until(359000)
        assert board.is_on_trial and not board.ota.healthy
        board.handle_until(361000)
        assert not board.is_on_trial and board.ota.healthy


# The trial


def test_a_trial_that_is_not_confirmed_ends_after_600_seconds_unless_set_otherwise():
    for settings, ms in (({}, 600000), ({"trial_s": 70}, 70000)):
        with Board(True, **settings) as board:
            board.ota.auto_confirm = False
            assert board.handle_until_reset() == ms + 500
            assert board.is_on_trial  # boot counts the tries


def test_a_trial_without_a_network_ends_too():
    with Board(True) as board:
        Station.connected = False
        assert board.handle_until_reset() == 600500


def test_a_confirmed_version_has_no_end():
    with Board() as board:
        board.handle_until(2000000)


def test_the_watchdog_is_fed_by_every_handle_of_a_trial_and_there_is_none_otherwise():
    with Board(True) as board:
        board.handle_until(7000)
        board.ota.watchdog._tick(None)  # which would reset the board
    with Board(False) as board:
        assert board.ota.watchdog is None


# What is said


def _fails_with(board, error):
    def fail():
        raise error

    board.ota.arduino.handle = fail


def test_an_error_that_lasts_is_said_at_growing_intervals():
    with Board() as board, Said() as said:
        _fails_with(board, OSError(5))
        board.handle_until(10000, 100)
        assert 3 <= said.count <= 5
        board.handle_until(3600000)
        assert said.count <= 14
        board.handle_until(3 * 3600000, 5000)
        assert said.count <= 17


def test_another_error_is_said_at_once():
    with Board() as board, Said() as said:
        for n, error in enumerate((OSError(5), ValueError(), OSError(5), MemoryError()), 1):
            _fails_with(board, error)
            board.handle_until(board.now + 300, 100)
            assert said.count == n


def test_an_error_after_a_long_time_is_said_again():
    with Board() as board, Said() as said:
        real = board.ota.arduino.handle
        for days in (0, 1, 7, 8, 13):
            _fails_with(board, OSError(5))
            said.count = 0
            board.handle_until(board.now + 1000)
            assert said.count == 1, days
            board.ota.arduino.handle = real
            board.handle_until(board.now + days * _DAY_MS, 3600000)


def test_the_seconds_since_begin_are_counted_for_longer_than_ticks_last():
    with Board() as board:
        board.ota.arduino.handle = lambda: False
        for ms, step_ms in ((1234567, 900), (30 * _DAY_MS, 3600000)):
            board.handle_until(ms, step_ms)
            assert board.ota.uptime_s == board.now // 1000


def test_the_application_goes_on_whatever_the_services_raise():
    with Board() as board, Said():
        for error in (OSError(5), ValueError(), MemoryError(), KeyError("x"), OTAError(3)):
            _fails_with(board, error)
            assert board.ota.handle() is False


# Unloading

_unload = ota.real_unload


def _loaded():
    return sorted([name for name in sys.modules if name[:4] == "ota."])


def _without_stub(function):
    # Calls function with modules that leave, and puts back those that the other tests hold.
    before = dict(sys.modules)
    attributes = dict(ota.__dict__)
    stub = ota._unload
    ota._unload = _unload
    try:
        function()
    finally:
        ota._unload = stub
        ota.__dict__.update(attributes)
        sys.modules.update(before)


def test_what_has_done_its_work_leaves_memory_and_comes_back():
    def check():
        ota.__dict__.pop("Updater", None)
        services = OTA()
        assert "ota.settings" not in sys.modules
        for name in ("ota.updater", "ota.record", "ota.slots", "ota.hal"):
            assert name not in sys.modules and name[4:] not in ota.__dict__, name
        from ota.updater import Updater, verify  # noqa: F401

        assert "ota.updater.verify" in sys.modules
        services.unload()
        for name in _loaded():
            assert name.split(".")[1] not in ("updater", "record", "slots", "hal"), name
        # The errors that an application holds go on matching.
        from ota.errors import OTAError as Error

        assert Error is OTAError
        from ota.updater import Updater as again

        assert again is not Updater
        try:
            again(services).write(b"x")
            raise AssertionError("no OTAError")
        except OTAError as e:
            assert e.code == 13

    _without_stub(check)


def test_the_updater_that_a_program_holds_stays():
    def check():
        from ota import Updater

        services = OTA()
        services.unload()
        assert "ota.updater" in sys.modules
        from ota import Updater as again

        assert again is Updater

    _without_stub(check)


def test_nothing_leaves_while_a_service_is_at_work():
    def check():
        services = OTA()
        for attribute in ("updater", "session"):
            holder = services if attribute == "updater" else ota.Callbacks()
            services.services = [holder] if attribute == "session" else ()
            setattr(holder, attribute, object())
            from ota import slots  # noqa: F401

            services.unload()
            assert "ota.slots" in sys.modules
            setattr(holder, attribute, None)
            services.unload()
            assert "ota.slots" not in sys.modules

    _without_stub(check)


def test_another_s_modules_are_left_alone():
    def check():
        class Module:
            pass

        names = ("otaku", "app", "app.ota.x", "otab.c")
        for name in names:
            sys.modules[name] = Module()
        OTA().unload()
        for name in names:
            assert sys.modules.pop(name)

    _without_stub(check)


def test_the_heap_is_back_where_it_was_after_many_loads():
    import gc

    def check():
        services = OTA()
        used = []
        for _ in range(12):
            from ota.arduino import session  # noqa: F401
            from ota.updater import verify  # noqa: F401

            del session, verify
            services.unload()
            gc.collect()
            used.append(gc.mem_alloc())
        assert max(used[4:]) - min(used[4:]) < 500, used

    _without_stub(check)


def test_time_passes_for_real_again():
    # A clock that a test has set is taken away at its end.
    begun = time.ticks_ms()
    assert OTA().allows_updates() and time.ticks_diff(time.ticks_ms(), begun) >= 0
