"""Requests to the listener: the status, and confirm, reject and revert."""

import json

from fake_clock import Clock
from hardware_stubs import Reset
from ota import OTA, OTAError, hal, slots, status, trial
from ota.arduino import ArduinoOTA
from ota.arduino import auth as _auth

_REQUEST_BYTES = 256
_HOST, _OTHER, _STRANGER = ("10.0.0.1", 40000), ("10.0.0.1", 40001), ("10.0.0.9", 50000)
_INVITATION = b"0 4000 1000 " + b"a" * 32 + b" 2 " + b"b" * 64 + b"\n"
_RUNNING = b"ERR: ERROR[15]: Update already running\n"
_NEEDS_ONE = b"ERR: this board has no password, or only the MD5 of one: set password_sha256"
_NONE_ON_TRIAL = b"ERR: no version is on trial"

with open("/vectors/requests.json") as _f:
    _VECTORS = json.load(_f)
_PASSWORD, _CNONCE = _VECTORS[0]["password"], _VECTORS[0]["cnonce"]


class Network:
    """The listener's socket and poll: `waiting` datagrams, and those that were `sent`."""

    def __init__(self):
        self.waiting = []
        self.sent = []

    def ipoll(self, _):
        return self.waiting[:1]

    poll = ipoll

    def recvfrom(self, size):
        data, address = self.waiting.pop(0)
        return data[:size], address

    def sendto(self, data, address):
        self.sent.append((data.encode() if isinstance(data, str) else data, address))


class Services:
    """The part of a board's OTA that the listener uses."""

    slot, trial, healthy, has_ended, is_alone, is_updating = "a", False, False, False, False, False
    begun, uptime_s = 0, 4711
    own_pull = own_web = kept = None
    has_staged_data = False
    takes_confirm = True

    address = "192.168.178.100"

    def __init__(self, settings):
        self.settings = settings

    def has_password(self):
        return OTA.has_password(self)

    def unload(self):
        pass

    def confirm(self):
        self.trial = self.trial and not self.takes_confirm
        return not self.trial


class Board(Clock):
    """A board's listener and its clock."""

    def __init__(self, **settings):
        self.ota = Services(settings)
        self.listener = ArduinoOTA(self.ota)
        self.network = self.listener.socket = self.listener.poll = Network()

    def say(self, data, address=_HOST):
        """Let the datagram *data* come; return what is sent to *address*, a list."""
        del self.network.sent[:]
        self.network.waiting.append((data, address))
        self.listener.handle()
        return self.said(address)

    def said(self, address=_HOST):
        return [data for data, to in self.network.sent if to == address]

    def later(self, ms, address=_HOST):
        """Let *ms* pass; return what is sent to *address* then."""
        del self.network.sent[:]
        self.wait(ms)
        self.listener.handle()
        return self.said(address)

    def nonce(self, command="status", address=_HOST):
        """Ask for *command*; return the nonce, which must come at once."""
        (said,) = self.say(request(command), address)
        assert said[:6] == b"AUTH2 " and len(said) == 70
        return said[6:].decode()

    def ask(self, command="status", address=_HOST):
        """Ask for *command* with the right password; return what is said to that."""
        return self.say(proven(self.nonce(command, address), command), address)


def request(*words):
    """Return the datagram of a request."""
    text = " ".join(("MPOTA",) + words).encode()
    return text + b" " * (_REQUEST_BYTES - 1 - len(text)) + b"\n"


def proven(nonce, command="status", password=_PASSWORD):
    """Return the datagram that proves *password*."""
    ota = Services({"password": password})
    response = _auth._strong(command.encode(), nonce.encode(), _CNONCE.encode(), ota)
    return request(command, _CNONCE, response.decode())


def _manifest(**fields):
    # Puts a manifest in place of that in the slot.
    manifest = {"name": "garden", "version": "1.4.0", "sequence": 17}
    manifest.update(fields)
    slots.manifest_of = lambda slot: manifest


_manifest()


class _Record:
    # The boot record, as far as the status tells of it.
    outcome = "confirmed: 17"


status.load = _Record


def _fields(answer):
    return dict([line.split(" ", 1) for line in answer.decode().split("\n")])


# The status


def test_a_board_without_a_password_tells_its_status_to_everyone():
    with Board() as board:
        (said,) = board.say(request("status"), _STRANGER)
        fields = _fields(said)
        assert int(fields.pop("heap")) > 1000
        assert fields.pop("firmware")[:2] == "1."
        assert fields == {
            "name": "garden",
            "version": "1.4.0",
            "sequence": "17",
            "digest": "",  # this slot holds only a MANIFEST
            "slot": "a",
            "state": "idle",
            "uptime": "4711",
            "address": "192.168.178.100",
            "outcome": "confirmed: 17",
        }
        assert board.listener.talk is None


def test_no_answer_is_longer_than_a_request():
    _manifest(name="n" * 32, version="v" * 32, sequence=0x3FFFFFFF)
    try:
        with Board(trial_s=604800) as board:
            board.ota.trial, board.ota.uptime_s = True, 1000000000
            _Record.outcome = "taken back: 1073741823: ☂☂☂☂☂☂☂☂☂☂"
            (said,) = board.say(request("status"))
            assert len(said) == _REQUEST_BYTES and b"outcome taken back" in said
    finally:
        _manifest()
        _Record.outcome = "confirmed: 17"


def test_the_state_says_why_no_application_runs():
    with Board() as board:
        for what, fields, state in (
            ("a", {}, "idle"),
            ("a", {"healthy": True}, "healthy"),
            ("a", {"healthy": True, "has_ended": True}, "services"),
            ("A", {"trial": True}, "trial 600"),
            ("-", {"slot": None}, "services"),
            (hal.SAFE, {"slot": None}, "safe"),
            (hal.ALONE, {"slot": None, "is_alone": True}, "alone"),
        ):
            hal.set_state(0, what)
            for name in ("slot", "trial", "healthy", "has_ended", "is_alone"):
                setattr(board.ota, name, fields.get(name, getattr(Services, name)))
            assert dict(status.facts(board.ota))["state"] == state


def test_what_is_no_request_gets_no_answer():
    good = request("status")
    for settings in ({}, {"password": _PASSWORD}):
        with Board(**settings) as board:
            for data in (
                good[:-1],
                b"MPOTA status\n",
                b"MPOTA " + bytes(250),
                request(),
                request("statu"),
                request("statuss"),
                request("status", _CNONCE),
                request("status", "a", "b", "c"),
                request("a " * 120),
            ):
                assert board.say(data, _STRANGER) == []
                assert board.listener.talk is None


# The password


def test_responses_are_those_of_the_vectors():
    for vector in _VECTORS:
        ota = Services({"password": vector["password"]})
        parts = [vector[name].encode() for name in ("command", "nonce", "cnonce")]
        assert _auth._strong(*parts, ota).decode() == vector["response"]


def test_the_status_is_told_to_who_proves_the_password_and_once():
    with Board(password=_PASSWORD) as board:
        nonce = board.nonce()
        (said,) = board.say(proven(nonce))
        assert said[:5] == b"name "
        # The same once more is nothing new, and no guess.
        assert board.say(proven(nonce)) == []
        assert board.listener.failures == 0 and board.listener.talk is None


def test_the_sha256_of_the_password_is_enough():
    digest = "addb0f5e7826c857d7376d1bd9bc33c0c544790a2eac96144a8af22b1298c940"  # geheim
    for settings in ({"password_sha256": digest}, {"password_sha256": digest, "auth": "strict"}):
        with Board(**settings) as board:
            assert board.ask()[0][:5] == b"name "


def test_a_board_that_cannot_check_a_password_says_so():
    for settings, commands in (
        ({}, ("confirm", "reject", "revert")),
        ({"auth": "strict"}, ("status", "confirm", "reject", "revert")),
        ({"password_hash": "0" * 32}, ("status", "confirm", "reject", "revert")),
    ):
        with Board(**settings) as board:
            for command in commands:
                assert board.say(request(command)) == [_NEEDS_ONE]


def test_a_question_that_got_lost_is_asked_again():
    with Board(password=_PASSWORD) as board:
        assert board.nonce() == board.nonce()


def test_each_question_has_a_nonce_of_its_own():
    with Board(password=_PASSWORD) as board:
        seen = []
        for _ in range(50):
            nonce = board.nonce()
            assert nonce not in seen
            seen.append(nonce)
            board.say(proven(nonce))


def test_a_nonce_is_good_for_10_s():
    for ms, is_good in ((9999, True), (10000, False)):
        with Board(password=_PASSWORD) as board:
            nonce = board.nonce()
            board.wait(ms)
            assert bool(board.say(proven(nonce))) is is_good


def test_a_proof_is_good_for_its_command_alone():
    for asked, said in (("status", "reject"), ("reject", "revert")):
        with Board(password=_PASSWORD) as board:
            response = proven(board.nonce(asked), asked).split()[3].decode()
            assert board.say(request(said, _CNONCE, response)) == [b"Authentication Failed"]


def test_after_wrong_passwords_the_next_host_is_asked_later():
    with Board(password=_PASSWORD) as board:
        for ms in (500, 1000, 2000, 4000, 8000, 8000):
            board.listener.handle()
            assert board.say(proven(board.nonce(), password="guess")) == [b"Authentication Failed"]
            for data in (request("status"), _INVITATION):  # from other hosts as well
                assert board.say(data, _STRANGER) == []
            board.listener.talk = None
            assert board.say(request("status")) == []
            assert board.later(ms - 10) == []
            assert board.later(10)[0][:6] == b"AUTH2 "
            board.listener.talk = None
        # The right one ends that.
        board.ask()
        assert board.listener.failures == 0
        board.nonce(address=_STRANGER)


def test_proofs_that_nobody_asked_for_put_nothing_off():
    with Board(password=_PASSWORD) as board:
        for _ in range(20):
            assert board.say(proven("0" * 64, password="guess"), _STRANGER) == []
        nonce = board.nonce()
        for address in (_STRANGER, _OTHER):
            assert board.say(proven("0" * 64), address) == []
        assert board.say(b"200 " + b"c" * 64 + b" " + b"d" * 64 + b"\n") == []
        assert board.listener.failures == 0
        assert board.say(proven(nonce))[0][:5] == b"name "


def test_a_proof_before_the_question_is_nothing():
    with Board(password=_PASSWORD) as board:
        board.say(proven(board.nonce(), password="guess"))
        assert board.say(request("status")) == []  # it is asked after 0.5 s
        assert board.say(proven("0" * 64)) == []
        assert board.listener.failures == 1
        assert board.later(500)[0][:6] == b"AUTH2 "


# Several hosts


def test_another_request_waits_until_the_first_has_had_its_time():
    with Board(password=_PASSWORD) as board:
        nonce = board.nonce()
        assert board.say(request("status"), _STRANGER) == []
        assert board.say(proven(nonce))[0][:5] == b"name "
        board.nonce(address=_STRANGER)
        board.wait(1900)
        assert board.say(request("status")) == []
        board.wait(100)
        board.nonce()


def test_an_update_goes_before_a_request():
    with Board(password=_PASSWORD) as board:
        board.nonce()
        (said,) = board.say(_INVITATION, _STRANGER)
        assert said[:6] == b"AUTH2 "
        for ms in (0, 5000):
            board.wait(ms)
            assert board.say(request("status")) == [_RUNNING]
        assert board.listener.talk.address == _STRANGER


def test_while_an_update_goes_on_there_is_no_status():
    for settings in ({}, {"password": _PASSWORD}):
        with Board(**settings) as board:
            board.ota.is_updating = True
            for command in ("status", "revert"):
                assert board.say(request(command), _STRANGER) == [_RUNNING]
            for data in (b"MPOTA status\n", b"0 ", b"100 1 1 1"):
                assert board.say(data, _STRANGER) == []


# Commands


class _Trials:
    """Replaces the function that goes back; `done` tells how it was called."""

    def __init__(self, error=None):
        self.done = []
        self._error = error

    def __enter__(self):
        self._before = trial.go_back
        trial.go_back = self._go_back
        return self

    def __exit__(self, *_):
        trial.go_back = self._before

    def _go_back(self, ota, why):
        self.done.append((ota.trial, why))
        if self._error:
            raise self._error


def _restarts(board, command):
    # Returns what was said before the board restarted.
    nonce = board.nonce(command)
    try:
        board.say(proven(nonce, command))
    except Reset:
        return board.said()
    raise AssertionError("no restart")


def test_confirm_is_answered_once_by_what_became_of_it():
    for is_trial, takes, answer in (
        (True, True, b"OK"),
        (True, False, b"ERR: not confirmed: see the board's log"),
        (False, True, _NONE_ON_TRIAL),
    ):
        with Board(password=_PASSWORD) as board:
            board.ota.trial, board.ota.takes_confirm = is_trial, takes
            assert board.ask("confirm") == [answer]


def test_reject_is_answered_once_when_it_is_done():
    with Board(password=_PASSWORD) as board, _Trials() as trials:
        assert board.ask("reject") == [_NONE_ON_TRIAL] and trials.done == []
        board.ota.trial = True
        assert _restarts(board, "reject") == [b"OK"]
        assert trials.done == [(True, "the owner wished it")]


def test_revert_takes_a_trial_back_or_tries_the_version_before():
    for is_trial in (True, False):
        with Board(password=_PASSWORD) as board, _Trials() as trials:
            board.ota.trial = is_trial
            assert _restarts(board, "revert") == [b"OK"]
            assert trials.done == [(is_trial, "the owner wished it")]


def test_what_fails_is_told_and_nothing_else():
    for error, said in (
        (OTAError(37, "there is no version before this one"), b"ERR: ERROR[37]: "),
        (OSError(5), b"ERR: "),
    ):
        with Board(password=_PASSWORD) as board, _Trials(error) as trials:
            (answer,) = board.ask("revert")
            assert answer.startswith(said) and trials.done == [(False, "the owner wished it")]
