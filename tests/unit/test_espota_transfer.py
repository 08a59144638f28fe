"""The TCP half of an update: as much as was announced is read, and in time, or it is over."""

import errno
import socket

from fake_clock import Clock
from ota import espota_transfer
from ota.errors import OTAError
from own_address import OWN_IP

_PORT = 40001
_CHUNK = 1460
_PATIENCE = 100000


class Updater:
    """Takes what is written, which is no more than announced."""

    def __init__(self, size):
        self.remaining = size
        self.buffer = memoryview(bytearray(_CHUNK))
        self.pieces = []

    def write(self, data):
        assert len(data) <= self.remaining
        self.pieces.append(bytes(data))
        self.remaining -= len(data)


class Session:
    """What `transfer` uses of an espota_session.Session: an update of *size* bytes."""

    tcp = None
    stage = None

    def __init__(self, size):
        self.size = size
        self.host = (OWN_IP, _PORT)
        self.updater = Updater(size)


class Transfer:
    """A transfer of *size* bytes to a board that goes by *clock*, and the host's end of it."""

    def __init__(self, size, clock):
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("", _PORT))
        self._listener.listen(1)
        self.session = Session(size)
        self.received = self.session.updater.pieces
        self.clock = clock
        self.is_over = False
        self._steps = espota_transfer.transfer(self.session)

    def __enter__(self):
        while self.session.stage != 3:
            self.step()
        self.host = self._listener.accept()[0]
        self.host.settimeout(10)
        return self

    def __exit__(self, *_):
        for s in (self.host, self._listener, self.session.tcp):
            s.close()

    def step(self):
        """Let the board do one step; return what `next` does, or None at the end."""
        try:
            return next(self._steps)
        except StopIteration:
            self.is_over = True
            return None

    def send(self, data):
        """Send *data* to the board and let it work until it has all that it wants of it."""
        wanted = min(self._taken() + len(data), self.session.size)
        self.host.write(data)
        for _ in range(_PATIENCE):
            self.step()
            if self._taken() == wanted:
                return
        raise AssertionError("not taken")

    def _taken(self):
        return self.session.size - self.session.updater.remaining

    def ended_at(self, ms, send=b""):
        """Send *send* every second; return (when, error number) that the board ends it before *ms*.

        The number is None if it does not end it.
        """
        while self.clock.now < ms:
            try:
                self.send(send)
                self.step()
            except OTAError as e:
                return self.clock.now, e.code
            if self.is_over:
                break
            self.clock.wait(1000)
        return self.clock.now, None


def test_a_byte_a_second_is_ended_by_the_deadline_for_the_whole():
    # A minute and one millisecond for each byte.
    for size, seconds in ((100000, 160), (1000, 61), (300000, 360)):
        with Clock() as clock, Transfer(size, clock) as transfer:
            ms, code = transfer.ended_at(1000000, b"M")
            assert (ms, code) == ((seconds + 1) * 1000, 6), size
            assert len(b"".join(transfer.received)) <= seconds + 2


def test_a_host_that_is_just_fast_enough_is_not_ended():
    size = 1100 * 1000
    with Clock() as clock, Transfer(size, clock) as transfer:
        ms, code = transfer.ended_at(10000000, b"x" * 1000)
        assert code is None and 1090000 <= ms <= 1100000
        assert len(b"".join(transfer.received)) == size


def test_silence_is_ended_after_10_s_wherever_it_begins():
    for sent in (0, 1, 5000):
        with Clock() as clock, Transfer(100000, clock) as transfer:
            if sent:
                transfer.send(b"M" * sent)
            begun = clock.now
            assert transfer.ended_at(100000) == (begun + 11000, 6)


def test_no_more_is_read_than_was_announced():
    for size in (1, 1459, 1460, 1461, 5000):
        with Clock() as clock, Transfer(size, clock) as transfer:
            transfer.send(b"x" * (size + 3000))
            transfer.step()
            assert transfer.is_over and b"".join(transfer.received) == b"x" * size


def test_endless_data_ends_with_what_was_announced():
    with Clock() as clock, Transfer(20000, clock) as transfer:
        transfer.host.setblocking(False)
        for _ in range(_PATIENCE):
            try:
                transfer.host.write(b"x" * 4000)
            except OSError as e:
                assert e.errno == errno.EAGAIN
            transfer.step()
            if transfer.is_over:
                break
        assert len(b"".join(transfer.received)) == 20000


def test_a_step_takes_one_chunk_at_most():
    with Clock() as clock, Transfer(20000, clock) as transfer:
        transfer.host.write(b"x" * 20000)
        while not transfer.is_over:
            before = len(transfer.received)
            transfer.step()
            assert len(transfer.received) - before <= 1
        assert max([len(piece) for piece in transfer.received]) <= _CHUNK


def test_each_piece_is_counted_before_the_next_is_read():
    with Clock() as clock, Transfer(3000, clock) as transfer:
        for n in (1, 700, 1460, 839):
            transfer.send(b"x" * n)
            assert transfer.host.recv(16) == b"%d" % n


def test_a_connection_that_ends_early_is_an_error():
    for reads_the_count in (True, False):  # or else it ends with an RST
        with Clock() as clock, Transfer(5000, clock) as transfer:
            transfer.send(b"x" * 100)
            if reads_the_count:
                assert transfer.host.recv(16) == b"100"
            transfer.host.close()
            try:
                for _ in range(_PATIENCE):
                    transfer.step()
                raise AssertionError("no error")
            except OSError as e:
                assert e.errno == errno.ECONNRESET
