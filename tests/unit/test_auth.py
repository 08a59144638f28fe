"""The handshakes: the responses, the handling of a host's answer, the delays, and who waits."""

import json
from binascii import hexlify

from fake_clock import Clock
from ota.arduino import auth, invitation
from ota.md5 import md5
from udp_stub import CLASSIC, HOST, MD5, SHA256, STRONG, Listener, Ota
from uhashlib import sha256

_CNONCE = b"00112233445566778899aabbccddeeff"
_KINDS = ("classic", "strong")
_DELAYS_MS = (0, 500, 1000, 2000, 4000, 8000, 8000, 8000)
_RUNNING = b"ERR: ERROR[15]: Update already running\n"
_FAILED = b"Authentication Failed"

# The same computer, but for all the board knows another program or a forged address.
_OTHER_PORT = (HOST[0], 50001)
_OTHERS = (_OTHER_PORT, ("192.168.4.3", HOST[1]), ("192.168.4.3", 50001))


class Board(Listener, Clock):
    """A listener that asks for a password, and its clock; updates that may begin are in `begun`."""

    def __enter__(self):
        super().__enter__()
        self.begun = []
        return self

    def begin_update(self, invited, address):
        self.forget()
        self.begun.append((invited, address))

    def wait_and_handle(self, ms, step_ms=100):
        """Let *ms* pass, with a handle() every *step_ms*."""
        end = self.now + ms
        while self.now < end:
            self.wait(min(step_ms, end - self.now))
            self.handle()


def _invite(board, kind="classic", address=HOST, wait_ms=0):
    # Returns the nonce that a host of *kind* is asked with.
    said = board.hears(CLASSIC if kind == "classic" else STRONG, address)
    if wait_ms:
        board.wait_and_handle(wait_ms)
        said = board.net.sent[-1:]
    (text, to), word = said[0], b"AUTH " if kind == "classic" else b"AUTH2 "
    assert len(said) == 1 and to == address and text.startswith(word), said
    nonce = text[len(word) :]
    assert len(nonce) == (32 if kind == "classic" else 64) and nonce.lower() == nonce
    int(nonce, 16)
    return nonce


def _words(kind, nonce, password, cnonce=_CNONCE):
    # The answer of a host that knows *password*, as a list of its words.
    if kind == "classic":
        secret = _md5(password.encode())
        return [b"200", cnonce, _md5(secret + b":" + nonce + b":" + cnonce)]
    invited = 0, 40001, 1234, MD5.decode(), SHA256.decode()
    response = auth._strong(invited, nonce, cnonce * 2, Ota(password=password))
    return [b"200", cnonce * 2, response]


def _answer(kind, nonce, password):
    return b" ".join(_words(kind, nonce, password)) + b"\n"


def _md5(data):
    digest = md5()
    digest.update(data)
    return hexlify(digest.digest())


def _vectors(name):
    with open("/vectors/" + name) as f:
        return json.load(f)


# The response


def test_the_response_is_that_of_the_vectors():
    vectors = _vectors("handshake_classic.json")
    assert vectors
    for v in vectors:
        nonce, cnonce = v["nonce"].encode(), v["cnonce"].encode()
        stored = _md5(v["password"].encode()).decode()
        for settings in (
            {"password": v["password"]},
            # A hash goes before a password that stands beside it.
            {"password_hash": stored, "password": "another"},
            {"password_hash": stored.upper()},
        ):
            response = auth._classic(None, nonce, cnonce, Ota(**settings))
            assert response == v["response"].encode(), v


def test_the_strong_response_is_that_of_the_vectors():
    vectors = _vectors("handshake_sha256.json")
    assert vectors
    for v in vectors:
        stored = hexlify(sha256(v["password"].encode()).digest()).decode()
        for settings in (
            {"password": v["password"]},
            {"password_sha256": stored},
            {"password_sha256": stored.upper(), "password": "another"},
        ):
            assert _strong(v, settings) == v["response"].encode(), v


def _strong(v, settings):
    invited = v["command"], 40001, v["size"], "", v["sha256"]
    return auth._strong(invited, v["nonce"].encode(), v["cnonce"].encode(), Ota(**settings))


def test_the_response_of_a_request_is_that_of_the_vectors():
    vectors = _vectors("requests.json")
    assert vectors
    for v in vectors:
        args = v["command"].encode(), v["nonce"].encode(), v["cnonce"].encode()
        stored = hexlify(sha256(v["password"].encode()).digest()).decode()
        for settings in ({"password": v["password"]}, {"password_sha256": stored}):
            assert auth._strong(*args, Ota(**settings)) == v["response"].encode(), v


def test_the_strong_response_changes_with_everything_that_it_binds():
    v = _vectors("handshake_sha256.json")[0]
    settings = {"password": v["password"]}
    changes = {"nonce": "0" * 64, "cnonce": "0" * 64, "sha256": "0" * 64, "command": 7, "size": 7}
    for key in changes:
        w = dict(v)
        w[key] = changes[key]
        assert _strong(w, settings) != v["response"].encode(), key


# The answer


def test_a_host_that_knows_the_password_is_let_in():
    for kind in _KINDS:
        for password in ("secret", "grüße, ☂", "x" * 64, " "):
            with Board(password=password) as board:
                assert board.hears(_answer(kind, _invite(board, kind), password)) == []
                ((invited, address),) = board.begun
                assert address == HOST and invited[:3] == (0, 40001, 1234)
                assert (invited[4] != "") == (kind == "strong")
                assert board.talk is None


def test_a_host_with_another_password_is_refused():
    for kind in _KINDS:
        for password in ("Secret", "", "secre", "secret "):
            with Board(password="secret") as board:
                said = board.hears(_answer(kind, _invite(board, kind), password))
                assert said == [(_FAILED, HOST)] and not board.begun
                assert board.talk is None and board.failures == 1


def test_an_answer_of_another_shape_is_refused():
    for kind in _KINDS:
        for change in (
            lambda words: words[:1] + [b""],
            lambda words: words[:2],
            lambda words: words[:2] + [b""],
            lambda words: [b"200", b"", words[2]],
            lambda words: words[:2] + [words[2][:-1]],
            lambda words: [b"200", words[1][:-1], words[2]],
            lambda words: words[:2] + [words[2] + b"0"],
            lambda words: [b"200", words[1] + b"0", words[2]],
            lambda words: words + [b"x"],
            lambda words: [b"200", words[2], words[1]],
            lambda words: words[:2] + [words[2].upper()],
            lambda words: words[:2] + [b"\xff" * len(words[2])],
            lambda words: [b"200"] + words,
            lambda words: words + [b"x"] * 40,
        ):
            with Board(password="secret") as board:
                words = change(_words(kind, _invite(board, kind), "secret"))
                assert board.hears(b" ".join(words)) == [(_FAILED, HOST)], words
                assert not board.begun


def test_a_right_response_is_refused_with_a_cnonce_of_another_length():
    for cnonce, good in ((_CNONCE, True), (_CNONCE[:31], False), (_CNONCE + b"0", False)):
        with Board(password="secret") as board:
            words = _words("classic", _invite(board), "secret", cnonce)
            board.hears(b" ".join(words))
            assert bool(board.begun) is good, cnonce


def test_every_single_digit_of_the_response_counts():
    for kind in _KINDS:
        for i in range(64 if kind == "strong" else 32):
            with Board(password="secret") as board:
                words = _words(kind, _invite(board, kind), "secret")
                response = bytearray(words[2])
                response[i] ^= 1
                board.hears(b" ".join(words[:2] + [bytes(response)]))
                assert not board.begun, i


def test_a_nonce_is_good_once():
    for kind in _KINDS:
        with Board(password="secret") as board:
            answer = _answer(kind, _invite(board, kind), "secret")
            board.hears(answer)
            assert len(board.begun) == 1
            # Replayed, with and without another invitation before it.
            assert board.hears(answer) == [] and len(board.begun) == 1
            _invite(board, kind)
            assert board.hears(answer) == [(_FAILED, HOST)] and len(board.begun) == 1


def test_an_answer_before_the_question_is_none():
    for kind in _KINDS:
        with Board(password="secret") as board:
            for data in (b"200 ", b"200 " + _CNONCE + b" " + _CNONCE, b"200"):
                assert board.hears(data) == []
            assert board.talk is None and board.failures == 0
            board.ask_at = 5000  # the question is put off
            assert board.hears(CLASSIC if kind == "classic" else STRONG) == []
            assert board.hears(b"200 " + _CNONCE + b" " + _CNONCE) == []
            assert board.talk and board.failures == 0


def test_a_response_to_one_handshake_is_none_to_the_other():
    with Board(password="secret") as board:
        nonce = _invite(board, "strong")
        words = _words("classic", nonce, "secret")
        board.hears(b" ".join([b"200", words[1] * 2, words[2] * 2]))
        assert not board.begun


# The settings


def test_a_strict_board_refuses_the_classic_handshake():
    refused = [(b"ERR: SHA-256 authentication required", HOST)]
    for settings in (
        {"password": "secret", "auth": "strict"},
        {"password_hash": "0" * 32, "auth": "strict"},
        # There is no MD5 of the password to do it with.
        {"password_sha256": "0" * 64},
        {"auth": "strict"},
    ):
        with Board(**settings) as board:
            assert board.hears(CLASSIC) == refused, settings
            assert board.talk is None
    with Board(password="secret", auth="strict") as board:
        board.hears(_answer("strong", _invite(board, "strong"), "secret"))
        assert board.begun


def test_without_a_password_to_prove_a_strict_board_lets_nobody_in():
    with Board(auth="strict") as board:
        assert board.hears(STRONG) == [(b"ERR: no password is set", HOST)]
        assert board.talk is None and not board.begun


def test_classic_allows_both_handshakes():
    for kind in _KINDS:
        with Board(password="secret", auth="classic") as board:
            board.hears(_answer(kind, _invite(board, kind), "secret"))
            assert board.begun


def test_a_board_with_an_md5_alone_does_not_know_the_stronger_handshake():
    with Board(password_hash="0" * 32) as board:
        assert board.hears(STRONG) == [] and board.talk is None
        _invite(board)
    for more in ({"password": "x"}, {"password_sha256": "0" * 64}):
        with Board(password_hash="0" * 32, **more) as board:
            _invite(board, "strong")


# The nonce, and the clock


def test_10000_nonces_are_distinct():
    for kind in _KINDS:
        board = Board(password="secret")
        invited = invitation.read_invitation(CLASSIC if kind == "classic" else STRONG)
        seen = set()
        for _ in range(10000):
            talk = auth.Talk(board, invited, HOST, None)
            talk.step()
            seen.add(talk.nonce)
        assert len(seen) == 10000


def test_a_host_that_never_answers_is_given_up_after_10_s():
    for kind in _KINDS:
        with Board(password="secret") as board:
            _invite(board, kind)
            board.wait_and_handle(9900)
            assert board.talk
            board.wait_and_handle(100)
            assert board.talk is None
            assert len(board.net.sent) == 1 and board.failures == 0


def test_an_answer_after_10_s_is_refused_though_handle_was_not_called_in_the_meantime():
    for kind in _KINDS:
        for ms, good in ((9999, True), (10001, False), (3600000, False)):
            with Board(password="secret") as board:
                answer = _answer(kind, _invite(board, kind), "secret")
                board.wait(ms)
                board.hears(answer)
                assert bool(board.begun) is good, (kind, ms)


def test_each_wrong_password_puts_off_the_next_nonce_to_8_s_at_most():
    for kind in _KINDS:
        with Board(password="secret") as board:
            for n, delay_ms in enumerate(_DELAYS_MS):
                invited = board.now
                nonce = _invite(board, kind, wait_ms=delay_ms + 25)
                assert board.now - invited <= delay_ms + 100
                board.hears(_answer(kind, nonce, "wrong"))
                assert board.failures == n + 1
            # 8 s again, and not earlier; and then none.
            board.hears(CLASSIC if kind == "classic" else STRONG)
            board.wait_and_handle(7900)
            assert board.net.sent[-1][0] == _FAILED
            board.wait_and_handle(125)
            nonce = board.net.sent[-1][0].split(b" ")[1]
            board.hears(_answer(kind, nonce, "secret"))
            assert board.begun and board.failures == 0
            _invite(board, kind)


def test_very_many_wrong_passwords_put_it_off_no_further():
    with Board(password="secret") as board:
        board.failures = 1 << 29
        board.hears(_answer("classic", _invite(board), "wrong"))
        _invite(board, wait_ms=8025)


def test_a_delay_is_over_when_ticks_have_come_round():
    with Board(password="secret") as board:
        board.failures = 9
        board.hears(_answer("classic", _invite(board), "wrong"))
        for _ in range(7 * 24):
            board.wait(3600 * 1000)
            board.handle()
        _invite(board)


def test_a_delay_that_has_begun_is_not_begun_anew_by_another_invitation():
    with Board(password="secret") as board:
        board.failures = 4
        board.hears(_answer("classic", _invite(board), "wrong"))
        for _ in range(79):
            board.hears(CLASSIC)
            board.wait(100)
        said = len(board.net.sent)
        board.wait_and_handle(200)
        assert board.net.sent[said][0].startswith(b"AUTH ")


# Who waits for whom


def test_a_doubled_invitation_gets_the_same_question_once_more():
    # Its host may have lost the first one; it has no more time for its answer.
    for kind in _KINDS:
        with Board(password="secret") as board:
            nonce = _invite(board, kind)
            talk = board.talk
            board.wait(3000)
            assert _invite(board, kind) == nonce and board.talk is talk
            board.hears(_answer(kind, nonce, "secret"))
            assert len(board.begun) == 1
        with Board(password="secret") as board:
            nonce = _invite(board, kind)
            board.wait(9000)
            _invite(board, kind)
            board.wait_and_handle(1100)
            assert board.talk is None


def test_another_invitation_of_the_same_host_takes_the_place_of_the_first():
    with Board(password="secret") as board:
        first = _invite(board)
        second = _invite(board, "strong")
        assert second[:32] != first
        # Then an answer to the first one, which comes late, is none.
        assert board.hears(_answer("classic", first, "secret")) == [(_FAILED, HOST)]
        assert not board.begun


def test_nobody_else_takes_over_while_a_host_is_asked():
    for other in _OTHERS:
        with Board(password="secret") as board:
            nonce = _invite(board)
            assert board.hears(CLASSIC, other) == [(_RUNNING, other)]
            # The host's own question is good as it was.
            assert board.hears(_answer("classic", nonce, "secret")) == []
            assert board.begun[0][1] == HOST


def test_a_host_keeps_others_away_for_2_s_however_often_it_asks_again():
    for other in _OTHERS:
        for again in (None, CLASSIC, STRONG):
            with Board(password="secret") as board:
                _invite(board)
                while board.now < 1900:
                    board.wait(100)
                    if again:
                        board.hears(again)
                    board.hears(CLASSIC, other)
                    assert board.talk.address == HOST, board.now
                board.wait(100)
                _invite(board, address=other)
                assert board.talk.address == other


def test_another_port_of_the_same_host_gets_no_more_time():
    stranger = _OTHERS[1]
    with Board(password="secret") as board:
        _invite(board)
        for port in range(40):  # a new port for each invitation, in the moment when that is taken
            board.wait(2001 if port == 0 else 100)
            board.hears(CLASSIC, (HOST[0], 50001 + port))
            assert board.talk.address[0] == HOST[0]
        _invite(board, address=stranger)
        assert board.talk.address == stranger


def test_what_only_begins_like_an_invitation_or_an_answer_changes_nothing():
    with Board(password="secret") as board:
        _invite(board)
        talk = board.talk
        for data in (
            b"0 ",
            b"0 x",
            b"100 80 1 " + MD5,
            CLASSIC[:-1] + b" 2",
            b"0 40001 1234 x",
            b"MPOTA ",
            b"MPOTA status",
            b"MPOTA status" + b" " * 100,
            b"",
            b"x" * 500,
        ):
            for address in (HOST,) + _OTHERS:
                assert board.hears(data, address) == [] and board.talk is talk, data
        assert board.failures == 0


def test_an_answer_may_come_from_another_port_of_the_host_as_arduino_esp32_s_does():
    for kind in _KINDS:
        with Board(password="secret") as board:
            nonce = _invite(board, kind)
            board.hears(_answer(kind, nonce, "secret"), _OTHER_PORT)
            assert board.begun[0][1] == HOST  # which is told, and dialled


def test_an_answer_from_another_computer_is_none():
    with Board(password="secret") as board:
        nonce = _invite(board)
        for other in _OTHERS[1:]:
            for password in ("secret", "wrong"):
                assert board.hears(_answer("classic", nonce, password), other) == []
        assert not board.begun and board.failures == 0 and board.talk


def test_a_wrong_answer_from_another_port_leaves_the_host_its_own():
    with Board(password="secret") as board:
        nonce = _invite(board)
        assert board.hears(_answer("classic", nonce, "wrong"), _OTHER_PORT) == []
        assert board.failures == 1 and board.talk
        board.hears(_answer("classic", nonce, "secret"))
        assert board.begun


def test_one_question_takes_no_second_guess_from_other_ports():
    # Or a host could guess as often as it likes, without any delay.
    with Board(password="secret") as board:
        nonce = _invite(board)
        board.hears(_answer("classic", nonce, "wrong"), _OTHER_PORT)
        for port in range(50001, 50050):
            for password in ("guess", "secret"):
                assert board.hears(_answer("classic", nonce, password), (HOST[0], port)) == []
        assert not board.begun and board.failures == 1


def test_no_memory_for_the_question_lets_go_of_the_talk_in_time():
    with Board(password="secret") as board:
        real = auth.uos

        class Os:
            def urandom(self, count):
                raise MemoryError

        auth.uos = Os()
        try:
            assert board.hears(CLASSIC) == []
            board.wait_and_handle(30000)
            assert board.talk is None
        finally:
            auth.uos = real
        _invite(board)
