"""Without the password, a host causes neither a flash operation nor a connection."""

import contextlib
import random

import pytest
from device import APP, Device
from raw_host import PASSWORD, RawHost, StrongHost

pytestmark = pytest.mark.parallel

SEED = 8266
CLASSIC, STRICT = {"password": PASSWORD}, {"password": PASSWORD, "auth": "strict"}
# This application prints when its on_start is called. A stranger must not get on_start called,
# because there an application stops its work, e.g. shuts a valve.
HEARS = APP.replace(
    "    ota.on_error", "    ota.on_start(lambda: print('on_start'))\n    ota.on_error"
)


@contextlib.contextmanager
def guarded(folder, **settings):
    """Yield a board with a password; check that nothing done inside reaches its flash."""
    with Device(folder, HEARS, **settings) as device:
        operations, files, said = device.board.operations, device.files(), device.said
        yield device
        assert device.board.operations == operations
        assert device.files() == files
        assert "on_start" not in device.board.lines[said:]
        assert device.board.boots == 1
        # With the password, all of these do happen.
        device.takes_an_update()
        assert device.board.operations > operations and "on_start" in device.board.lines


def failed(device, start):
    device.board.wait_for("authentication failed", start=start)


def test_a_wrong_password_writes_nothing(tmp_path):
    with guarded(tmp_path, **CLASSIC) as device:
        for password in ("guess", "geheim ", ""):
            start = device.said
            with RawHost(device.board.ip) as host:
                host.invite(1000)
                verdict = host.authenticate(host.answer(), password)
                assert verdict == "Authentication Failed"
                failed(device, start)
                assert not host.was_dialled()


def test_a_wrong_password_in_the_stronger_handshake_writes_nothing(tmp_path):
    with guarded(tmp_path, **STRICT) as device:
        data = device.image()
        for password in ("guess", "geheim ", ""):
            start = device.said
            with StrongHost(device.board.ip) as host:
                host.invite_for(data)
                verdict = host.verdict(host.response(host.challenge(), password))
                assert verdict == "Authentication Failed"
                failed(device, start)
                assert not host.was_dialled()


@pytest.mark.parametrize("strong", [False, True], ids=["classic", "stronger"])
def test_an_invitation_whose_challenge_is_never_answered_is_never_dialled(tmp_path, strong):
    # An invitation with a forged source address is like this: the challenge goes to a host that has
    # not asked for it.
    with guarded(tmp_path, **CLASSIC) as device, StrongHost(device.board.ip, "127.0.0.9") as host:
        data = device.image()
        # The second invitation gets its challenge after the board has given up the first one.
        for _ in range(2):
            start = device.said
            if strong:
                host.invite_for(data)
            else:
                host.invite(len(data))
            assert host.answer().startswith("AUTH2 " if strong else "AUTH ")
            assert not host.was_dialled()
            device.board.wait_for("no answer to AUTH", start=start)
        assert not host.was_dialled()


def test_a_strict_refusal_writes_nothing(tmp_path):
    with guarded(tmp_path, **STRICT) as device, RawHost(device.board.ip) as host:
        for _ in range(5):
            host.invite(1000)
            assert host.answer() == "ERR: SHA-256 authentication required"
        assert not host.was_dialled()


@pytest.mark.parametrize("settings", [CLASSIC, STRICT], ids=["classic", "strict"])
def test_malformed_datagrams_write_nothing(tmp_path, settings):
    numbers = random.Random(SEED)
    with guarded(tmp_path, **settings) as device, RawHost(device.board.ip) as host:
        good = b"0 %d 1000 %s\n" % (host.port, b"0" * 32)
        for _ in range(20):
            for _ in range(25):
                start = numbers.choice([good, b"100 ", b"0 ", b""])
                host.say(start + numbers.randbytes(numbers.randrange(200)) + b"!")
                host.say(good[: numbers.randrange(len(good) - 1)])
            # The board answers when it has read all of them.
            host.invite(1000)
            said = host.answer()
            assert said.startswith("AUTH " if settings is CLASSIC else "ERR: SHA-256")
        assert not host.was_dialled()
        if settings is CLASSIC:
            # Without a response, the board would go on waiting for one.
            host.authenticate(said, "guess")
            failed(device, 0)


def test_answers_without_an_invitation_write_nothing(tmp_path):
    with guarded(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        host.announced = "0:1000:" + "0" * 64
        for _ in range(50):
            host.say(host.response("0" * 64))
        data = device.image()
        host.invite_for(data)
        nonce = host.challenge()
        assert host.verdict(host.response("0" * 64)) == "Authentication Failed"
        # The right answer comes too late.
        host.say(host.response(nonce))
        failed(device, 0)
        assert not host.answers_within(0.2) and not host.was_dialled()
