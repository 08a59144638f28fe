"""Datagrams to the listener: invitations, other requests, and when an update is refused."""

import gc
import sys
from struct import calcsize

from fake_clock import Clock
from ota import arduino
from ota.arduino import auth, control, session
from ota.arduino.invitation import read_invitation
from ota.errors import OTAError
from udp_stub import CLASSIC, HOST, MD5, SHA256, STRONG, Listener

_NO_PASSWORD = b"ERR: this board has no password, or only the MD5 of one: set password_sha256"


def _request(words):
    # A request of 256 bytes.
    return words + b" " * (255 - len(words)) + b"\n"


class Begun:
    """A session that begins, or raises *error*."""

    error = None
    made = []

    class Updater:
        has_started = False

    updater = Updater

    def __init__(self, listener, invited, address):
        self.address = address
        Begun.made.append((invited, address))

    def begin(self):
        if Begun.error:
            raise Begun.error

    def step(self):
        return False

    def close(self):
        pass


class Board(Listener):
    """A listener whose sessions begin and then do nothing, or raise *error* at their beginning."""

    def __init__(self, error=None, **settings):
        super().__init__(**settings)
        Begun.error = error
        del Begun.made[:]

    def __enter__(self):
        self._real = session.Session
        session.Session = Begun
        return self

    def __exit__(self, *_):
        session.Session = self._real


# Invitations


def test_an_invitation_is_read():
    md5, sha256 = MD5.decode(), SHA256.decode()
    for data, expected in (
        (b"0 40001 1234 " + MD5 + b"\n", (0, 40001, 1234, md5, "")),
        (b"0 40001 1234 " + MD5, (0, 40001, 1234, md5, "")),
        (b"100 1024 0 " + MD5 + b"\n", (100, 1024, 0, md5, "")),
        (b"0  65535\t99999999999 " + MD5 + b"\r\n", (0, 65535, 99999999999, md5, "")),
        (b"0 40001 1234 " + MD5 + b" 2 " + SHA256 + b"\n", (0, 40001, 1234, md5, sha256)),
        (b"100 65535 99999999999 " + MD5 + b" 2 " + SHA256, (100, 65535, 99999999999, md5, sha256)),
    ):
        assert read_invitation(data) == expected, data


def test_anything_else_is_none_and_gets_no_answer():
    for data in (
        b"",
        b"0 ",
        b"0 40001 1234\n",
        b"0 40001 1234 " + MD5 + b" 2\n",
        b"0 40001 1234 " + MD5[:31] + b"\n",
        b"0 40001 1234 " + MD5 + b"0\n",
        b"0 40001 1234 " + MD5[:31] + b"g\n",
        b"0 40001 1234 " + b"\xff" * 32 + b"\n",
        b"0 x 1234 " + MD5,
        b"0 40001 x " + MD5,
        b"0 40001 -1 " + MD5,
        b"0 -1 1234 " + MD5,
        b"0 0 1234 " + MD5,
        b"0 22 1234 " + MD5,
        b"0 1023 1234 " + MD5,
        b"0 65536 1234 " + MD5,
        b"0 " + b"9" * 200 + b" 1234 " + MD5,
        b"0 40001 " + b"9" * 60 + b" " + MD5,
        b"0 40001 1234 " + MD5 + b" " * 100,
        b"00 40001 1234 " + MD5,
        b"1 40001 1234 " + MD5,
        b"200 40001 1234 " + MD5,
        b"0 40001 1234 " + MD5 + b" 1 " + SHA256,
        b"0 40001 1234 " + MD5 + b" 2" + SHA256,
        b"0 40001 1234 " + MD5 + b" 2 " + SHA256[1:],
        b"0 40001 1234 " + MD5 + b" 2 " + SHA256 + b"0",
        b"0 40001 1234 " + MD5 + b" 2 " + SHA256[1:] + b"g",
        b"0 40001 1234 " + MD5[1:] + b" 2 " + SHA256,
        b"0 40001 1234 " + MD5 + b" 2 " + SHA256 + b" x",
        b"0 1023 1234 " + MD5 + b" 2 " + SHA256,
        b"0 40001 1234 " + MD5 + b" 2 " + SHA256 + b" " * 100,
    ):
        assert read_invitation(data) is None, data
        for settings in ({}, {"password": "x"}):
            with Board(**settings) as board:
                assert board.hears(data) == [], data
                assert board.session is board.talk is None and not Begun.made


def test_an_invitation_opens_an_update_on_a_board_that_is_open_to_all():
    for data in (CLASSIC, STRONG):
        with Board() as board:
            board.hears(data)
            assert board.session and Begun.made == [(read_invitation(data), HOST)]


def test_on_a_board_with_a_password_it_opens_nothing():
    for data in (CLASSIC, STRONG):
        with Board(password="x") as board:
            board.hears(data)
            assert board.session is None and isinstance(board.talk, auth.Talk) and not Begun.made


def test_random_datagrams_raise_nothing_and_open_nothing():
    import random

    random.seed(8266)
    with Board(password="x") as board:
        originals = (CLASSIC, STRONG, _request(b"MPOTA status"), b"200 " + MD5 + b" " + MD5)
        for i in range(4000):
            data = bytearray(originals[i & 3])
            for _ in range(1 + random.getrandbits(2)):
                at = random.getrandbits(16) % max(1, len(data))
                change = random.getrandbits(2)
                if change == 0 and data:
                    data[at] = random.getrandbits(8)
                elif change == 1:
                    data[at:at] = bytes([random.getrandbits(8)] * random.getrandbits(4))
                elif change == 2:
                    data[at : at + random.getrandbits(3)] = b""
                else:
                    data = data[: at + 1]
            board.hears(bytes(data), (HOST[0], 40000 + (i & 1023)))
        assert not Begun.made and board.session is None


# Refused


def test_an_update_that_is_refused_is_answered_once_and_opens_nothing():
    with Board(OTAError(33)) as board:
        assert board.hears(CLASSIC) == [(b"ERR: ERROR[33]: Updates are not allowed now\n", HOST)]
        assert board.session is None


def test_too_little_memory_is_answered_where_the_board_may_not_restart():
    with Board(MemoryError()) as board:
        board.hears(CLASSIC)
        board.handle()
        said = board.net.sent
        assert len(said) == 1 and said[0][0].startswith(b"ERR: ERROR[14]: ")
        assert b" bytes free" in said[0][0] and board.session is None


def test_with_much_too_little_memory_nothing_is_loaded_for_an_update():
    class Gc:
        def mem_free(self):
            return 2499 * calcsize("P")

        def collect(self):
            pass

    with Board() as board:
        arduino.gc = Gc()
        updater = sys.modules.pop("ota.updater")
        try:
            board.hears(CLASSIC)
            board.handle()
        finally:
            arduino.gc = gc
            sys.modules["ota.updater"] = updater
        assert not Begun.made and b"ERROR[14]" in board.net.sent[-1][0]


def test_a_socket_that_cannot_be_made_is_answered():
    with Board(OSError(12)) as board:
        said = board.hears(CLASSIC)
        assert len(said) == 1 and said[0][0].startswith(b"ERR: ERROR[14]: Out of memory"), said
        assert board.session is None


def test_failed_transfers_on_an_open_board_bring_a_pause():
    with Clock() as clock, Board() as board:
        board.pause_until = 8000
        said = board.hears(CLASSIC)
        assert said == [(b"ERR: ERROR[33]: failed transfers, try again in 9 s\n", HOST)]
        clock.wait(7500)
        assert b"try again in 1 s" in board.hears(CLASSIC)[0][0] and not Begun.made
        clock.wait(500)
        assert board.hears(CLASSIC) == [] and board.session


def test_a_pause_is_over_when_ticks_have_come_round():
    with Clock() as clock, Board() as board:
        board.pause_until = 60000
        for _ in range(8 * 24):
            clock.wait(3600 * 1000)
            board.handle()
        assert board.hears(CLASSIC) == [] and board.session


# Requests


def test_only_the_status_is_told_to_everyone_and_only_by_an_open_board():
    answered = []
    real = control.begin
    control.begin = lambda listener, command, address: answered.append((command, address))
    try:
        with Board() as board:
            assert board.hears(_request(b"MPOTA status")) == []
            assert answered == [(b"status", HOST)]
            for command in (b"confirm", b"reject", b"revert"):
                assert board.hears(_request(b"MPOTA " + command)) == [(_NO_PASSWORD, HOST)]
        for settings in ({"password_hash": "0" * 32}, {"auth": "strict"}):
            with Board(**settings) as board:
                assert board.hears(_request(b"MPOTA status")) == [(_NO_PASSWORD, HOST)]
        assert len(answered) == 1
    finally:
        control.begin = real


def test_a_request_of_another_shape_gets_no_answer():
    for data in (
        b"MPOTA status\n",
        _request(b"MPOTA status")[:-1],
        _request(b"MPOTA"),
        _request(b"MPOTA update"),
        _request(b"MPOTA status x"),
        _request(b"MPOTA status x y z"),
        _request(b"MPOTA status " + SHA256 + b" " + SHA256),
        _request(b"MPOTASTATUS x"),
    ):
        with Board(password="x") as board:
            assert board.hears(data) == [] and board.talk is None, data
        if len(data.split()) != 4:  # an open board takes the proof as well, and does not look at it
            with Board() as board:
                assert board.hears(data) == [], data


def test_no_answer_is_longer_than_its_request():
    for data in (CLASSIC, STRONG, _request(b"MPOTA status"), _request(b"MPOTA confirm")):
        for settings in ({"password": "x"}, {"auth": "strict"}, {"password_hash": "0" * 32}):
            with Board(**settings) as board:
                for text, _ in board.hears(data):
                    assert len(text) <= len(data), (data, text)


def _hmac(nonce, command, password="secret"):
    from udp_stub import Ota

    cnonce = b"c" * 64
    return cnonce + b" " + auth._strong(command, nonce, cnonce, Ota(password=password))


def _asked(board, command, address=HOST):
    ((text, to),) = board.hears(_request(b"MPOTA " + command), address)
    assert text[:6] == b"AUTH2 " and to == address and len(text) == 70
    return text[6:]


def test_a_host_that_knows_the_password_gets_its_request_done_once():
    answered = []
    real = control.begin
    control.begin = lambda listener, command, address: answered.append((command, address))
    try:
        for command in (b"status", b"confirm", b"reject", b"revert"):
            with Board(password="secret") as board:
                nonce = _asked(board, command)
                assert _asked(board, command) == nonce
                proof = _request(b"MPOTA " + command + b" " + _hmac(nonce, command))
                assert board.hears(proof) == [] and answered == [(command, HOST)]
                assert board.hears(proof) == [] and len(answered) == 1
                assert board.talk is None
                del answered[:]
    finally:
        control.begin = real


def test_a_wrong_proof_counts_as_a_wrong_password():
    with Board(password="secret") as board:
        nonce = _asked(board, b"revert")
        for proof, address in (
            # From elsewhere, or as an answer to an invitation, it is none.
            (_request(b"MPOTA revert " + _hmac(nonce, b"revert")), (HOST[0], 50001)),
            (b"200 " + _hmac(nonce, b"revert"), HOST),
        ):
            assert board.hears(proof, address) == [] and board.failures == 0
        wrong = _request(b"MPOTA status " + _hmac(nonce, b"revert"))
        assert board.hears(wrong) == [(b"Authentication Failed", HOST)]
        assert board.failures == 1 and board.talk is None


def test_a_request_waits_for_an_update_and_an_update_for_no_request():
    other = ("192.168.4.3", 50000)
    with Clock() as clock, Board(password="secret") as board:
        board.hears(CLASSIC)
        for _ in range(3):
            said = board.hears(_request(b"MPOTA status"), other)
            assert said == [(b"ERR: ERROR[15]: Update already running\n", other)]
            clock.wait(3000)
        assert board.talk.address == HOST
    with Clock() as clock, Board(password="secret") as board:
        _asked(board, b"status", other)
        ((text, to),) = board.hears(CLASSIC)
        assert text[:5] == b"AUTH " and to == HOST
