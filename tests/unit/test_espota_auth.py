"""The classic handshake: the response of ArduinoOTA, and what is done with the host's answer."""

import json

from ota import espota_auth

_NONCE = b"00112233445566778899aabbccddeeff"


def _vectors():
    with open("/vectors/espota_auth.json") as f:
        return json.load(f)


def _hex(data):
    return espota_auth._md5_hex(data)


class Session:
    """What `authenticate` uses of an espota_session.Session; `password` is what the host knows."""

    address = ("127.0.0.1", 40000)
    answer = None

    def __init__(self, password=None):
        self.sent = []
        self.errors = []
        self.updater = self
        self._password = password

    def send(self, text, address):
        assert address == self.address
        self.sent.append(text)
        if self._password is not None and text[:5] == b"AUTH ":
            nonce = text[5:]
            response = _hex(_hex(self._password) + b":" + nonce + b":" + _NONCE)
            self.answer = [b"200", _NONCE, response]

    def call(self, event, *args):
        self.errors.append((event, args))


def _authenticate(session, settings):
    steps = espota_auth.authenticate(session, settings.get)
    while True:
        try:
            next(steps)
        except StopIteration as e:
            return e.value


def test_the_response_is_that_of_the_vectors():
    vectors = _vectors()
    assert vectors
    for v in vectors:
        nonce, cnonce = v["nonce"].encode(), v["cnonce"].encode()
        response = espota_auth._response({"password": v["password"]}.get, nonce, cnonce)
        assert response == v["response"].encode(), v


def test_a_password_hash_in_either_case_does_the_same_as_the_password():
    for v in _vectors():
        nonce, cnonce = v["nonce"].encode(), v["cnonce"].encode()
        stored = _hex(v["password"].encode()).decode()
        for password_hash in (stored, stored.upper()):
            # It takes precedence over a password that stands beside it.
            settings = {"password_hash": password_hash, "password": "another"}
            response = espota_auth._response(settings.get, nonce, cnonce)
            assert response == v["response"].encode()


def test_a_host_that_knows_the_password_is_let_in():
    session = Session(b"secret")
    assert _authenticate(session, {"password": "secret"}) is True
    assert len(session.sent) == 1 and len(session.sent[0]) == 5 + 32
    assert session.errors == []


def test_a_host_with_another_password_is_refused_and_the_application_told():
    session = Session(b"Secret")
    assert _authenticate(session, {"password": "secret"}) is False
    assert session.sent[1] == "Authentication Failed"
    assert session.errors == [("error", (0,))]


def test_an_answer_of_another_shape_is_refused():
    for answer in (
        [b"200"],
        [b"200", _NONCE],
        [b"200", _NONCE, b""],
        [b"200", b"", _NONCE],
        [b"200", _NONCE, _NONCE[:31]],
        [b"200", _NONCE[:31], _NONCE],
        [b"200", _NONCE, _NONCE + b"0"],
        [b"200", _NONCE, _NONCE, b"x"],
    ):
        session = Session()
        session.answer = answer
        assert _authenticate(session, {"password": "secret"}) is False, answer
        assert session.errors == [("error", (0,))]


def test_a_right_response_is_refused_with_a_nonce_of_another_length_or_more_digits():
    for cnonce, change in (
        (_NONCE, None),
        (_NONCE[:31], None),
        (_NONCE + b"0", None),
        (_NONCE, lambda response: response + b"0"),
        (_NONCE, lambda response: response[:31]),
        (_NONCE, lambda response: b""),
    ):
        session = Session()

        def answer(text, address, cnonce=cnonce, change=change, session=session):
            if text[:5] == b"AUTH ":
                response = _hex(_hex(b"secret") + b":" + text[5:] + b":" + cnonce)
                session.answer = [b"200", cnonce, change(response) if change else response]

        session.send = answer
        good = len(cnonce) == 32 and change is None
        assert _authenticate(session, {"password": "secret"}) is good, cnonce


def test_every_single_digit_of_the_response_counts():
    for i in range(32):
        session = Session(b"secret")
        steps = espota_auth.authenticate(session, {"password": "secret"}.get)
        send = session.send

        def spoilt(text, address, i=i, send=send, session=session):
            send(text, address)
            if session.answer and text[:5] == b"AUTH ":
                response = bytearray(session.answer[2])
                response[i] ^= 1
                session.answer[2] = bytes(response)

        session.send = spoilt
        try:
            while True:
                next(steps)
        except StopIteration as e:
            assert e.value is False, i


def test_a_nonce_is_never_given_twice():
    seen = set()
    for _ in range(300):
        session = Session(b"secret")
        assert _authenticate(session, {"password": "secret"})
        seen.add(session.sent[0])
    assert len(seen) == 300


def test_a_host_that_never_answers_is_given_up_after_10_s():
    session = Session()
    now = [0]
    real = espota_auth.after, espota_auth.is_past
    espota_auth.after = lambda ms: now[0] + ms
    espota_auth.is_past = lambda deadline: now[0] >= deadline
    try:
        steps = espota_auth.authenticate(session, {"password": "secret"}.get)
        for now[0] in range(0, 10000, 100):
            assert next(steps) is False
        now[0] = 10000
        try:
            next(steps)
            raise AssertionError("still waiting")
        except StopIteration as e:
            assert e.value is False
    finally:
        espota_auth.after, espota_auth.is_past = real
    assert len(session.sent) == 1 and session.errors == []
