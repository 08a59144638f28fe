"""The two handshakes: the responses, what is done with the host's answer, and the delays."""

import json
from binascii import hexlify
from hashlib import sha256

from ota import espota_auth
from ota.md5 import md5

_CNONCE = b"00112233445566778899aabbccddeeff"
_SHA256 = "2e281f9bddf85336d15b579b74e4250950c9c994752666ae81c78b283592edff"
_HANDSHAKES = ("classic", "strong")
_DELAYS_MS = (0, 500, 1000, 2000, 4000, 8000, 8000, 8000)


def _vectors(name):
    with open("/vectors/" + name) as f:
        return json.load(f)


def _hex(data):
    digest = md5()
    digest.update(data)
    return hexlify(digest.digest())


class Listener:
    """What `authenticate` uses of an espota.ArduinoOTA."""

    failures = 0


class Session:
    """What `authenticate` uses of an espota_session.Session; `password` is what the host knows.

    `change`, if given, makes the list of words that the host answers with into another.
    """

    address = ("127.0.0.1", 40000)
    answer = None
    ask_at = None
    command = 0
    size = 34567

    def __init__(self, handshake="classic", password=None, change=None):
        self.strong = handshake == "strong"
        self.sha256 = _SHA256 if self.strong else ""
        self.sent = []
        self.errors = []
        self.updater = self
        self._password = password
        self._change = change

    def send(self, text, address):
        assert address == self.address
        self.sent.append(text)
        if self._password is None or not isinstance(text, bytes):
            return
        nonce = self.nonce
        if self.strong:
            cnonce = _CNONCE * 2
            response = espota_auth._strong(self, nonce, cnonce, {"password": self._password}.get)
        else:
            cnonce = _CNONCE
            secret = _hex(self._password.encode())
            response = _hex(secret + b":" + nonce + b":" + cnonce)
        words = [b"200", cnonce, response]
        self.answer = self._change(words) if self._change else words

    @property
    def nonce(self):
        text = self.sent[0]
        assert text[: 6 if self.strong else 5] == (b"AUTH2 " if self.strong else b"AUTH ")
        nonce = text[6 if self.strong else 5 :]
        assert len(nonce) == (64 if self.strong else 32) and nonce.lower() == nonce
        int(nonce, 16)
        return nonce

    def call(self, event, *args):
        self.errors.append((event, args))


def _authenticate(session, settings, listener=None):
    steps = espota_auth.authenticate(session, settings.get, listener or Listener())
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value


class _Clock:
    """Takes the place of the clock while a test runs: `with _Clock() as clock`."""

    def __enter__(self):
        self.now = 0
        self._real = espota_auth.after, espota_auth.is_past
        espota_auth.after = lambda ms: self.now + ms
        espota_auth.is_past = lambda deadline: self.now >= deadline
        return self

    def __exit__(self, *_):
        espota_auth.after, espota_auth.is_past = self._real


# The response


def test_the_response_is_that_of_the_vectors():
    vectors = _vectors("espota_auth.json")
    assert vectors
    for v in vectors:
        nonce, cnonce = v["nonce"].encode(), v["cnonce"].encode()
        get = {"password": v["password"]}.get
        response = espota_auth._classic(Session(), nonce, cnonce, get)
        assert response == v["response"].encode(), v


def test_a_password_hash_in_either_case_does_the_same_as_the_password():
    for v in _vectors("espota_auth.json"):
        nonce, cnonce = v["nonce"].encode(), v["cnonce"].encode()
        stored = _hex(v["password"].encode()).decode()
        for password_hash in (stored, stored.upper()):
            # It takes precedence over a password that stands beside it.
            settings = {"password_hash": password_hash, "password": "another"}
            response = espota_auth._classic(Session(), nonce, cnonce, settings.get)
            assert response == v["response"].encode()


def _strong_session(v):
    session = Session("strong")
    session.command, session.size, session.sha256 = v["command"], v["size"], v["sha256"]
    return session


def test_the_strong_response_is_that_of_the_vectors():
    vectors = _vectors("espota_auth2.json")
    assert vectors
    for v in vectors:
        args = _strong_session(v), v["nonce"].encode(), v["cnonce"].encode()
        stored = hexlify(sha256(v["password"].encode()).digest()).decode()
        for settings in (
            {"password": v["password"]},
            {"password_sha256": stored},
            {"password_sha256": stored.upper(), "password": "another"},
        ):
            assert espota_auth._strong(*args, settings.get) == v["response"].encode(), v


def test_the_strong_response_changes_with_everything_that_it_binds():
    v = _vectors("espota_auth2.json")[0]
    get = {"password": v["password"]}.get
    changes = {"nonce": "0" * 64, "cnonce": "0" * 64, "sha256": "0" * 64, "command": 7, "size": 7}
    for key in changes:
        w = dict(v)
        w[key] = changes[key]
        args = _strong_session(w), w["nonce"].encode(), w["cnonce"].encode(), get
        assert espota_auth._strong(*args) != v["response"].encode(), key


# The answer


def test_a_host_that_knows_the_password_is_let_in():
    for handshake in _HANDSHAKES:
        for password in ("secret", "grüße, ☂", "x" * 1024, " "):
            session = Session(handshake, password)
            assert _authenticate(session, {"password": password}) is True
            assert len(session.sent) == 1 and session.nonce
            assert session.errors == []


def test_a_host_with_another_password_is_refused_and_the_application_told():
    for handshake in _HANDSHAKES:
        for password in ("Secret", "", "secre", "secret "):
            session = Session(handshake, password)
            assert _authenticate(session, {"password": "secret"}) is False
            assert session.sent[1] == "Authentication Failed"
            assert session.errors == [("error", (0,))]


def test_an_answer_of_another_shape_is_refused():
    for handshake in _HANDSHAKES:
        for change in (
            lambda words: words[:1],
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
        ):
            session = Session(handshake, "secret", change)
            assert _authenticate(session, {"password": "secret"}) is False
            assert session.sent[1] == "Authentication Failed"
            assert session.errors == [("error", (0,))]


def test_a_right_response_is_refused_with_a_cnonce_of_another_length():
    for cnonce, good in ((_CNONCE, True), (_CNONCE[:31], False), (_CNONCE + b"0", False)):
        session = Session()

        def answer(text, address, cnonce=cnonce, session=session):
            if isinstance(text, bytes):
                response = _hex(_hex(b"secret") + b":" + text[5:] + b":" + cnonce)
                session.answer = [b"200", cnonce, response]

        session.send = answer
        assert _authenticate(session, {"password": "secret"}) is good, cnonce


def test_every_single_digit_of_the_response_counts():
    for handshake in _HANDSHAKES:
        for i in range(64 if handshake == "strong" else 32):

            def spoil(words, i=i):
                response = bytearray(words[2])
                response[i] ^= 1
                return words[:2] + [bytes(response)]

            session = Session(handshake, "secret", spoil)
            assert _authenticate(session, {"password": "secret"}) is False, i


def test_an_answer_that_came_before_the_nonce_is_none():
    for handshake in _HANDSHAKES:
        session = Session(handshake)
        session.answer = [b"200", _CNONCE, _CNONCE]
        steps = espota_auth.authenticate(session, {"password": "secret"}.get, Listener())
        assert next(steps) is False
        assert session.answer is None and session.errors == []


def test_a_response_to_one_handshake_is_none_to_the_other():
    def classic(words):
        secret = _hex(b"secret")
        return words[:2] + [_hex(secret + b":" + session.nonce + b":" + words[1]) * 2]

    session = Session("strong", "secret", classic)
    assert _authenticate(session, {"password": "secret"}) is False


# The settings


def test_a_strict_board_refuses_the_classic_handshake():
    for settings in (
        {"password": "secret", "auth": "strict"},
        {"password_hash": "0" * 32, "auth": "strict"},
        # There is no MD5 of the password to do it with.
        {"password_sha256": "0" * 64},
    ):
        session = Session("classic", "secret")
        assert _authenticate(session, settings) is False
        assert session.sent == ["ERR: SHA-256 authentication required"]
    assert _authenticate(Session("strong", "secret"), {"password": "secret", "auth": "strict"})


def test_classic_allows_both_handshakes():
    for handshake in _HANDSHAKES:
        session = Session(handshake, "secret")
        assert _authenticate(session, {"password": "secret", "auth": "classic"}) is True


def test_what_is_neither_classic_nor_strict_counts_as_strict():
    for auth in ("Strict", "STRICT", "strict ", "stict", "sha256", "Classic", True, 1, ["strict"]):
        session = Session("classic", "secret")
        assert _authenticate(session, {"password": "secret", "auth": auth}) is False, auth
        assert session.sent == ["ERR: SHA-256 authentication required"]
        assert _authenticate(Session("strong", "secret"), {"password": "secret", "auth": auth})


def test_a_hash_that_is_none_lets_nobody_in():
    for settings in (
        {"password_sha256": "x" * 64},
        {"password_sha256": "0" * 63},
        {"password_sha256": "0" * 62},
        {"password_sha256": "0" * 66},
        {"password_sha256": 5},
        {"password": 5},
    ):
        for handshake in _HANDSHAKES:
            for password in ("secret", "", "0" * 64):
                try:
                    taken = _authenticate(Session(handshake, password), settings)
                except (ValueError, TypeError, AttributeError):  # which the session refuses, too
                    taken = False
                assert taken is False, settings


# The nonce, and the clock


def test_10000_nonces_are_distinct():
    for handshake in _HANDSHAKES:
        seen = set()
        for _ in range(10000):
            session = Session(handshake)
            next(espota_auth.authenticate(session, {"password": "secret"}.get, Listener()))
            seen.add(session.nonce)
        assert len(seen) == 10000


def test_a_host_that_never_answers_is_given_up_after_10_s():
    for handshake in _HANDSHAKES:
        session = Session(handshake)
        listener = Listener()
        with _Clock() as clock:
            steps = espota_auth.authenticate(session, {"password": "secret"}.get, listener)
            for clock.now in range(0, 10000, 100):
                assert next(steps) is False
            clock.now = 10000
            try:
                next(steps)
                raise AssertionError("still waiting")
            except StopIteration as e:
                assert e.value is False
        assert len(session.sent) == 1 and session.errors == [] and listener.failures == 0


def _verdict_on_an_answer_after(ms, handshake, settings):
    # On the right one, if the board sees it only when it has been busy with other things for *ms*.
    session = Session(handshake)
    with _Clock() as clock:
        steps = espota_auth.authenticate(session, settings.get, Listener())
        assert next(steps) is False
        knowing = Session(handshake, "secret")
        knowing.send(session.sent[0], session.address)  # makes its answer to this nonce
        clock.now = ms
        session.answer = knowing.answer
        try:
            next(steps)
        except StopIteration as e:
            return e.value
    raise AssertionError("still waiting")


def test_an_answer_after_10_s_is_refused_though_handle_was_not_called_in_the_meantime():
    for handshake in _HANDSHAKES:
        settings = {"password": "secret"}
        assert _verdict_on_an_answer_after(9999, handshake, settings) is True
        for ms in (10001, 3600000):
            assert _verdict_on_an_answer_after(ms, handshake, settings) is False, (handshake, ms)


def _delay(listener, password, ask_at=None, handshake="strong"):
    # Returns (ms until the nonce went out, whether the host was let in).
    session = Session(handshake, password)
    session.ask_at = ask_at
    with _Clock() as clock:
        steps = espota_auth.authenticate(session, {"password": "secret"}.get, listener)
        while not session.sent:
            try:
                next(steps)
            except StopIteration as e:
                return clock.now, e.value
            clock.now += 50
        try:
            while True:
                next(steps)
        except StopIteration as e:
            return clock.now - 50, e.value


def test_each_wrong_password_puts_off_the_next_nonce_to_8_s_at_most():
    for handshake in _HANDSHAKES:
        listener = Listener()
        for n in range(len(_DELAYS_MS)):
            waited, taken = _delay(listener, "wrong", None, handshake)
            assert not taken and listener.failures == n + 1
            assert _DELAYS_MS[n] - 100 <= waited <= _DELAYS_MS[n] + 100, (n, waited)
        # 8 s again, and then none.
        waited, taken = _delay(listener, "secret", None, handshake)
        assert taken and waited >= 7900 and listener.failures == 0
        waited, taken = _delay(listener, "secret", None, handshake)
        assert taken and waited <= 100


def test_very_many_wrong_passwords_put_it_off_no_further():
    listener = Listener()
    listener.failures = 1 << 29
    assert 7900 <= _delay(listener, "secret")[0] <= 8100


def test_a_delay_that_has_begun_goes_on():
    listener = Listener()
    listener.failures = 5
    assert 2900 <= _delay(listener, "wrong", 3000)[0] <= 3100
    assert _delay(listener, "wrong", 0)[0] <= 100
