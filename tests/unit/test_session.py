"""An ArduinoOTA update, from the OK to the result: what is read and acknowledged, and how fast."""

import errno
import socket
import time
from binascii import hexlify

from fake_clock import Clock
from flash_stubs import Watched
from hardware_stubs import OWN_IP, Reset
from ota import Callbacks, log, slots
from ota.arduino import session
from ota.errors import OTAError
from ota.md5 import md5
from ota.record import Record, load
from sample_image import clear_slot, empty_board, fill_slot, image, image_of, runs
from udp_stub import Listener
from uhashlib import sha256

_PORT = 40001
_CHUNK = 1460
_PATIENCE = 100000
_IMAGE = image_of(20000, 8)
_EVENTS = ("start", "end", "error")


def _md5(data):
    digest = md5()
    digest.update(data)
    return hexlify(digest.digest()).decode()


class Update(Clock):
    """An update of *data*, or of *size* bytes: the board, which goes by this clock, and its host.

    Entered, it has begun; `result` is what the host was told by TCP besides the counts, `calls`
    are the application's callbacks but on_progress.
    """

    def __init__(self, data=_IMAGE, size=None, digest=None, listens=True, **settings):
        self._data = data
        self.size = len(data) if size is None else size
        self._digest = _md5(data) if digest is None else digest
        self._listens = listens
        self._settings = settings
        self.result = b""
        self.calls = []
        self.host = None
        self.is_reset = False

    def __enter__(self):
        super().__enter__()
        empty_board()
        fill_slot("a", image(7))
        runs("a")
        r = Record()
        r.active = "a"
        r.store()
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._server.bind(("", _PORT if self._listens else _PORT + 1))
        self._server.listen(1)
        self.listener = Listener(**self._settings)
        for event in _EVENTS:
            register = getattr(self.listener, "on_" + event)
            register(lambda *args, what=event: self.calls.append((what,) + args))
        self.begin()
        return self

    def __exit__(self, *_):
        super().__exit__()
        if self.listener.session:
            self.listener.session.close()
        for s in (self.host, self._server):
            if s:
                s.close()

    def begin(self):
        """Begin the update as the listener does."""
        invited = 0, _PORT, self.size, self._digest, self._settings.get("sha256", "")
        begun = session.Session(self.listener, invited, (OWN_IP, 50000))
        self.session = self.listener.session = begun
        begun.begin()

    def step(self, ms=1):
        """Let the board do one step, and *ms* pass; return what the step returns."""
        self.wait(ms)
        try:
            return self.listener.session.step()
        except Reset:
            self.is_reset = True
            self.listener.session = None
            return False

    @property
    def is_over(self):
        """Whether the board has ended the update."""
        return self.listener.session is None

    def connect(self):
        """Accept the board's connection."""
        while self.session.stage != 3:
            self.step()
        self.host = self._server.accept()[0]
        self.host.setblocking(False)

    def send(self, data):
        """Send *data* and let the board work until it has all that it wants of it."""
        updater = self.session.updater
        wanted = min(updater.progress + len(data), self.size)
        sent = 0
        for _ in range(_PATIENCE):
            if self.is_over or updater.progress == wanted or updater.error:
                return
            if sent < len(data):
                try:
                    sent += self.host.write(data[sent : sent + 8000]) or 0
                except OSError as e:
                    assert e.errno == errno.EAGAIN
            self.step()
        raise AssertionError("not taken")

    def run(self, data=None, step_ms=1):
        """Send *data* in one go, let the board do all the rest, and read what it says."""
        self.connect()
        self.send(self._data if data is None else data)
        return self.finish(step_ms)

    def finish(self, step_ms=1):
        """Let the board work until it is done; return the result."""
        for _ in range(_PATIENCE):
            self.hear()
            if self.is_over:
                return self.result
            self.step(step_ms)
        raise AssertionError("no end")

    def hear(self):
        """Read what the board has sent: counts, and the result behind them."""
        if self.host is None:
            return
        try:
            self.result += self.host.recv(4000) or b""
        except OSError as e:
            assert e.errno in (errno.EAGAIN, errno.ECONNRESET), e


def _is_discarded(update):
    r = load()
    assert (r.active, r.trial) == ("a", None) and not slots.is_accepted("b")
    updater = update.session.updater
    assert update.listener.ota.updater is None and not updater.is_running
    assert update.session.tcp is None
    return update.listener.session is None


# An update that succeeds


def test_an_update_goes_through_and_the_board_restarts():
    with Update() as update:
        assert update.listener.net.sent == [(b"OK", (OWN_IP, 50000))]
        assert update.listener.command == 0
        result = update.run()
        assert result.endswith(b"OK") and update.is_reset
        assert update.calls == [("start",), ("end",)]
    assert load().trial == "b" and slots.is_accepted("b")


def test_where_it_is_set_so_the_board_goes_on_after_it():
    with Update(reboot_on_success=False) as update:
        assert update.run().endswith(b"OK") and not update.is_reset
        assert update.is_over and update.listener.ota.updater is None
    assert load().trial == "b"


def test_every_byte_is_counted_as_it_comes():
    with Update() as update:
        update.connect()
        taken = 0
        for n in (1, 700, 1460, 839, 17000):
            update.result = b""
            update.send(_IMAGE[taken : taken + n])
            taken += n
            update.hear()
            # Counts have no end of their own: what was taken at once is one of at most 4 digits.
            if n <= _CHUNK:
                assert update.result == b"%d" % n
            assert update.session.updater.progress == taken


def test_a_piece_is_counted_before_it_is_written():
    with Update() as update:
        update.connect()
        seen = []

        def before(*_):
            if not seen:
                for _ in range(200):  # it may be on its way
                    update.hear()
                    if update.result:
                        break
                    time.sleep_ms(5)
                seen.append(update.result)

        with Watched() as flash:
            flash.before = before
            update.send(_IMAGE[:1460])
        # When the first page is programmed, its host has been told.
        assert seen == [b"1460"] and flash.of("program")


def test_a_step_takes_one_chunk_at_most():
    with Update() as update:
        update.connect()
        update.host.setblocking(True)
        update.host.write(_IMAGE)
        updater = update.session.updater
        while updater.remaining:
            before = updater.progress
            update.step()
            assert updater.progress - before <= _CHUNK


def test_the_result_comes_by_itself_after_the_last_count():
    with Update(reboot_on_success=False) as update:
        update.connect()
        update.send(_IMAGE)
        while update.session.updater.is_running:
            update.step()
        begun = update.now
        update.hear()
        update.result = b""
        while not update.result and not update.is_over:
            update.step(10)
            update.hear()
        assert update.result == b"OK" and update.now - begun >= 500
        # And there is time to read it before the connection ends.
        told = update.now
        update.finish(10)
        assert update.now - told >= 900


def test_a_host_that_has_read_the_result_is_waited_for_no_longer():
    with Update(reboot_on_success=False) as update:
        update.connect()
        update.send(_IMAGE)
        while b"OK" not in update.result:
            update.step(10)
            update.hear()
        told = update.now
        update.host.close()
        update.host = None
        update.finish(10)
        assert update.now - told < 500


def test_the_announced_sha256_is_compared():
    for digest, good in ((hexlify(sha256(_IMAGE).digest()).decode(), True), ("0" * 64, False)):
        with Update(digest="0" * 32, sha256=digest) as update:
            assert update.run().endswith(b"OK") == good
            assert good or b"ERROR[42]" in update.result


# As much as was announced, and in time


def test_no_more_is_read_than_was_announced():
    for size in (1, 1459, 1460, 1461, 5000):
        with Update(size=size) as update:
            update.connect()
            update.host.write(_IMAGE[:6500])
            while update.session.updater.remaining and not update.is_over:
                update.step()
            assert update.session.updater.progress == size


def test_endless_data_ends_with_what_was_announced():
    with Update() as update:
        update.connect()
        for _ in range(_PATIENCE):
            try:
                update.host.write(_IMAGE[:4000])
            except OSError as e:
                assert e.errno in (errno.EAGAIN, errno.ECONNRESET, errno.EPIPE), e
            update.step(20)
            update.hear()
            if update.is_over:
                break
        assert update.is_over and b"ERROR[" in update.result and _is_discarded(update)


def test_silence_is_ended_after_10_s_wherever_it_begins():
    for sent in (0, 1, 5000):
        with Update() as update:
            update.connect()
            update.send(_IMAGE[:sent])
            begun = update.now
            while not update.session.updater.error:
                update.step(1000)
            assert 10000 < update.now - begun <= 12000, sent
            assert update.finish(100).endswith(b"ERROR[6]: Stream Read Timeout\n")
            assert update.calls == [("start",), ("error", 3)] and _is_discarded(update)


def test_a_byte_a_second_is_ended_by_the_deadline_for_the_whole():
    # A minute and one millisecond for each byte.
    for size, seconds in ((20000, 80), (1000, 61), (100000, 160)):
        with Update(size=size) as update:
            update.connect()
            begun = update.now
            while not update.session.updater.error:
                update.send(b"\xd2")
                update.step(1000)
            assert seconds * 1000 <= update.now - begun <= (seconds + 3) * 1000, size
            assert update.session.updater.error == 6


def test_a_host_that_is_just_fast_enough_is_not_ended():
    data = image_of(102000, 8)
    with Update(data) as update:
        update.connect()
        for at in range(0, len(data), 700):
            update.send(data[at : at + 700])
            update.step(1000)
            assert not update.session.updater.error
        assert update.finish().endswith(b"OK")


# What goes wrong


def test_a_host_that_refuses_the_connection_is_error_2():
    with Update(listens=False) as update:
        update.finish()
        assert update.calls == [("start",), ("error", 2)] and _is_discarded(update)


def test_a_host_that_does_not_answer_is_given_up_after_10_s():
    class Silent:
        def ipoll(self, ms):
            return ()

    with Update() as update:
        update.session.poll = Silent()
        begun = update.now
        update.finish(100)
        assert 10000 <= update.now - begun <= 10300
        assert update.calls == [("start",), ("error", 2)] and _is_discarded(update)


def test_a_connection_that_ends_early_is_error_3():
    for reads_the_counts in (True, False):  # or else it ends with an RST
        with Update() as update:
            update.connect()
            update.send(_IMAGE[:5000])
            if reads_the_counts:
                update.hear()
            update.host.close()
            update.host = None
            update.finish()
            assert update.calls == [("start",), ("error", 3)] and _is_discarded(update)


def test_an_image_that_is_refused_on_the_way_is_told_to_host_and_application():
    for data, text in (
        (b"\xe9" + bytes(19999), b"ERROR[10]: Not an application image"),
        (image(8, name=b"other") + bytes(9000), b"ERROR[44]: "),
    ):
        with Update(data) as update:
            result = update.run(step_ms=50)
            assert text in result and result.endswith(b"\n")
            assert update.calls == [("start",), ("error", 3)] and _is_discarded(update)


def test_an_image_that_is_refused_at_its_end_is_error_4():
    for data, digest, text in (
        (_IMAGE[:-4] + b"????", None, b"ERROR[37]: "),
        (_IMAGE, "0" * 32, b"ERROR[7]: MD5 verification failed: expected: 0000"),
    ):
        with Update(data, digest=digest) as update:
            assert text in update.run(step_ms=50)
            assert update.calls == [("start",), ("error", 4)] and _is_discarded(update)
            assert not update.is_reset


def test_no_memory_on_the_way_is_told():
    with Update() as update:
        update.connect()

        def before(*_):
            raise MemoryError

        with Watched() as flash:
            flash.before = before
            update.send(_IMAGE)
        assert b"ERROR[14]: Out of memory" in update.finish(50)
        assert update.calls == [("start",), ("error", 3)] and _is_discarded(update)


def test_whatever_else_is_raised_ends_the_update_and_nothing_else():
    with Update() as update:
        update.connect()

        def raises(buffer):
            raise ValueError("what nobody thinks of")

        real = update.session.updater.writing
        update.session.updater.writing = raises
        update.send(b"x")
        for _ in range(10):
            if update.is_over:
                break
            update.step(50)
        update.session.updater.writing = real
        assert update.calls == [("start",), ("error", 3)] and _is_discarded(update)


def _refused(on_start=None, **ota):
    # Returns (error, calls) of an update that does not begin.
    update = Update()
    begin, update.begin = update.begin, lambda: None
    with update:
        for name in ota:
            setattr(update.listener.ota, name, ota[name])
        if on_start:
            update.listener.ota.on_start(on_start)
        try:
            begin()
            raise AssertionError("no OTAError")
        except OTAError as e:
            assert update.listener.net.sent == [] and update.session.tcp is None
            assert update.listener.ota.updater is None
            update.listener.session = None
            return e.code, update.calls


def test_an_update_that_is_refused_before_on_start_tells_the_application_nothing():
    assert _refused(gate=lambda: False) == (33, [])
    assert _refused(trial=True) == (34, [])


def test_one_that_on_start_refuses_is_error_1():
    def veto():
        raise RuntimeError("not now")

    assert _refused(veto) == (32, [("error", 1)])


# What callbacks do


def test_a_callback_may_end_the_listener():
    for event in ("progress", "end", "error"):
        data = _IMAGE if event == "end" else b"\xe9" * 20000 if event == "error" else _IMAGE
        with Update(data, reboot_on_success=False) as update:
            getattr(update.listener, "on_" + event)(lambda *_: update.listener.end())
            update.connect()
            update.send(data)
            for _ in range(_PATIENCE):
                if update.is_over:
                    break
                update.step(50)
            assert update.is_over and update.listener.is_off, event
            assert update.listener.ota.updater is None and update.session.tcp is None
            assert update.listener.net.is_closed
            assert (load().trial == "b") == (event == "end")


def test_an_on_start_that_ends_the_listener_ends_the_update():
    update = Update()
    begin, update.begin = update.begin, lambda: None
    with update:
        update.listener.on_start(update.listener.end)
        try:
            begin()
        except OTAError as e:
            assert e.code == 32
        assert update.listener.ota.updater is None and update.session.tcp is None
        assert update.listener.net.sent == [] and update.listener.is_off
        update.listener.session = None


def test_a_callback_may_abort_the_update():
    with Update() as update:
        update.listener.on_progress(lambda *_: update.session.updater.abort(6))
        update.connect()
        update.host.write(_IMAGE[:1460])
        assert b"ERROR[6]" in update.finish(50)
        assert update.calls[-1] == ("error", 3) and _is_discarded(update)


def test_the_end_of_the_listener_in_the_middle_discards_the_update():
    with Update() as update:
        update.connect()
        update.send(_IMAGE[:5000])
        update.listener.end()
        assert update.is_over and _is_discarded(update)
        assert update.calls[-1] == ("error", 3) and update.calls.count(update.calls[-1]) == 1
        update.hear()
        assert b"ERROR" not in update.result


def test_the_callbacks_of_both_are_called():
    with Update() as update:
        calls = []
        update.listener.ota.on_progress(lambda done, total: calls.append(("ota", done, total)))
        update.listener.on_progress(lambda done, total: calls.append(("own", done, total)))
        update.run()
        assert calls[0][0] == "ota" and calls[1][0] == "own" and calls[0][1:] == calls[1][1:]
        assert calls[-1] == ("own", 20000, 20000)
        assert isinstance(update.listener, Callbacks)


# The pause after failed transfers


def _fail(update):
    update.connect()
    update.host.close()
    update.host = None
    update.finish()
    return update.listener


def test_failed_transfers_bring_a_growing_pause_on_an_open_board():
    pauses = []
    failed = 0
    for _ in range(12):
        with Update() as update:
            update.listener.failed_transfers = failed
            listener = _fail(update)
            failed = listener.failed_transfers
            pauses.append(listener.pause_until and listener.pause_until - update.now)
    assert pauses[:2] == [None, None]
    assert pauses[2:] == [2000, 4000, 8000, 16000, 32000] + [64000] * 5


def test_a_board_with_a_password_does_not_pause_and_a_success_ends_the_counting():
    for settings in ({"password": "x"}, {"auth": "strict"}):
        with Update(**settings) as update:
            update.listener.failed_transfers = 5
            assert _fail(update).failed_transfers == 0
            assert update.listener.pause_until is None
    with Update(reboot_on_success=False) as update:
        update.listener.failed_transfers = 5
        update.run()
        assert update.listener.failed_transfers == 0 and update.listener.pause_until is None


def test_failed_transfers_cost_the_idle_slot_bounded_erases():
    erased = 0
    failed = 0
    clock_ms = 0
    for _ in range(50):
        with Update() as update, Watched() as flash:
            update.listener.failed_transfers = failed
            update.connect()
            update.send(_IMAGE[:1600])
            update.host.close()
            update.host = None
            update.finish()
            failed = update.listener.failed_transfers
            clock_ms += (update.listener.pause_until or update.now) - update.now
            erased += len(flash.of("erase"))
    # An hour of a stranger's attempts, and as many erases as two updates have.
    assert erased <= 2 * 50 and clock_ms > 40 * 60000


# The services alone


def test_how_an_update_of_the_services_alone_failed_is_recorded():
    with Update(b"\xe9" * 20000) as update:
        update.listener.ota.is_alone = True
        update.run(step_ms=50)
        assert load().outcome.startswith("failed: ERROR[10]: Not an application")
    clear_slot("a")


def test_a_host_that_is_gone_at_the_end_is_logged():
    lines = []
    real = log.error
    log.error = lambda text, *args: lines.append(text % args)
    try:
        with Update(reboot_on_success=False) as update:
            update.connect()
            update.send(_IMAGE)
            update.host.close()  # with counts that it has not read: an RST
            update.host = None
            update.finish(50)
            assert update.calls == [("start",), ("end",)]  # the image is verified all the same
    finally:
        log.error = real
    assert lines == [] or "the host is gone" in lines[0]
