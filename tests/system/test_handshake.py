"""The SHA-256 handshake: a host that proves the password updates the board, whatever others do."""

import hashlib
import socket
import threading
import time

import pytest
from device import Device
from mpota.arduino.outcomes import PasswordNeededError, StrongOnlyError, WrongPasswordError
from raw_host import CNONCE, PASSWORD, RawHost, StrongHost, sha256_hex

pytestmark = pytest.mark.parallel

STRICT = {"password": PASSWORD, "auth": "strict"}
ANOTHER = "127.0.0.9"
SWAPPED = 42
LONGEST = "rain or shine, " * 4 + "sun!"  # 64 characters


def failed(device, start, code):
    device.board.wait_for(f"update failed, code {code}", start=start)


def not_proved(device, start):
    device.board.wait_for("authentication failed", start=start)


# The password


@pytest.mark.parametrize("auth", ["strict", "auto"])
@pytest.mark.parametrize("password", [PASSWORD, "größer ☂", LONGEST, " ", ":"],
                         ids=["ASCII", "not ASCII", "longest", "space", "colon"])  # fmt: skip
def test_who_knows_the_password_updates_a_strict_board(tmp_path, password, auth):
    with Device(tmp_path, password=password, auth="strict") as device:
        start = device.said
        device.upload(device.next_image(), auth=auth)
        device.confirmed(start)


@pytest.mark.parametrize("capitals", [False, True])
def test_the_hash_of_the_password_is_enough_for_the_board(tmp_path, capitals):
    stored = sha256_hex(PASSWORD.encode())
    with Device(tmp_path, password_sha256=stored.upper() if capitals else stored) as device:
        start = device.said
        device.fails(device.image(), WrongPasswordError, password="x", auth="strict")
        not_proved(device, start)
        device.fails(device.image(), StrongOnlyError, password=PASSWORD, auth="classic")
        start = device.said
        device.upload(device.next_image(), password=PASSWORD, auth="strict")
        device.confirmed(start)


@pytest.mark.parametrize("password", ["Geheim", "gehei", "geheim ", LONGEST])
def test_a_wrong_password_is_refused(tmp_path, password):
    with Device(tmp_path, password=PASSWORD) as device, device.unharmed():
        start = device.said
        device.fails(device.image(), WrongPasswordError, password=password, auth="strict")
        not_proved(device, start)


def test_a_host_that_gives_no_password_is_refused(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device, device.unharmed():
        device.fails(device.image(), PasswordNeededError, password="", auth="strict")
        device.board.wait_for("no answer to AUTH")


def test_an_empty_password_is_none_and_the_sha256_counts_all_the_same(tmp_path):
    with Device(tmp_path, password="", password_hash=None) as device:
        with device.unharmed(), StrongHost(device.board.ip) as host:
            start = device.said
            data = device.image()
            host.invite_for(data)
            assert host.answer() == "OK"
            assert f"ERROR[{SWAPPED}]" in host.send_all(data[:-1] + b"x")
            failed(device, start, 4)
        start = device.said
        device.upload(device.next_image(), auth="strict")
        device.confirmed(start)


# What the handshake binds


def test_an_image_that_is_exchanged_after_the_handshake_is_refused(tmp_path):
    with Device(tmp_path, **STRICT) as device:
        start, boots, record = device.said, device.board.boots, device.files()["/.ota/record"]
        data = device.next_image()
        other = device.image(device.app.replace("app {version}", "app X"))
        assert len(other) == len(data) and other != data
        with StrongHost(device.board.ip) as host:
            host.invite_for(data)
            assert host.verdict(host.response(host.challenge())) == "OK"
            said = host.send_all(other)
            assert said == (
                f"ERROR[{SWAPPED}]: SHA-256 is not the announced one: read back from flash"
            )
        failed(device, start, 4)
        assert (device.board.boots, device.files()["/.ota/record"]) == (boots, record)
        start = device.said
        device.upload(data, auth="strict")
        device.confirmed(start)


def test_a_response_for_another_announcement_is_refused(tmp_path):
    with Device(tmp_path, **STRICT) as device:
        data = device.image()
        digest = sha256_hex(data)
        for announced in (
            f"100:{len(data)}:{digest}",
            f"0:{len(data) + 1}:{digest}",
            f"0:{len(data)}:{sha256_hex(b'')}",
            f"0:{len(data)}:{digest.upper()}",
        ):
            with StrongHost(device.board.ip) as host:
                start = device.said
                host.invite_for(data)
                response = host.response(host.challenge(), announced=announced)
                assert host.verdict(response) == "Authentication Failed", announced
                not_proved(device, start)


# The two handshakes


def test_a_strict_board_refuses_the_classic_handshake_in_clear_words(tmp_path):
    with Device(tmp_path, **STRICT) as device, RawHost(device.board.ip) as host:
        host.invite(1000)
        assert host.answer() == "ERR: SHA-256 authentication required"
        device.fails(device.image(), StrongOnlyError, auth="classic")
        start = device.said
        device.upload(device.next_image(), auth="auto")
        device.confirmed(start)


@pytest.mark.parametrize("auth", ["STRICT", True])
def test_a_mistyped_auth_counts_as_strict_and_is_logged(tmp_path, auth):
    with Device(tmp_path, password=PASSWORD, auth=auth) as device, RawHost(device.board.ip) as host:
        host.invite(1000)
        assert host.answer() == "ERR: SHA-256 authentication required"
        device.board.wait_for(r"E: .*\bauth\b.*strict", timeout_s=5)
        device_takes_strong(device)


def test_a_board_that_has_the_md5_only_is_silent_to_the_stronger_invitation(tmp_path):
    stored = hashlib.md5(PASSWORD.encode()).hexdigest()
    with Device(tmp_path, password_hash=stored) as device:
        data = device.next_image()
        with StrongHost(device.board.ip) as host:
            host.invite_for(data)
            assert not host.answers_within(0.5)
        start = device.said
        device.upload(data, password=PASSWORD, auth="auto")  # the classic handshake is used
        device.confirmed(start)


def test_a_board_that_is_not_strict_takes_either_handshake(tmp_path):
    with Device(tmp_path, password=PASSWORD) as device:
        for auth in ("classic", "strict"):
            start = device.said
            device.upload(device.next_image(), auth=auth)
            device.confirmed(start)


def test_a_classic_response_does_not_answer_the_stronger_challenge(tmp_path):
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        start = device.said
        host.invite_for(device.image())
        nonce = host.challenge()
        secret = hashlib.md5(PASSWORD.encode()).hexdigest()
        response = hashlib.md5(f"{secret}:{nonce}:{CNONCE}".encode()).hexdigest()
        assert host.verdict(f"200 {CNONCE} {response}\n".encode()) == "Authentication Failed"
        not_proved(device, start)


# The response to the challenge


def test_a_response_is_good_once(tmp_path):
    with Device(tmp_path, **STRICT) as device, device.unharmed():
        device.update = lambda: device_takes_strong(device)
        data = device.image()
        with StrongHost(device.board.ip) as host:
            start = device.said
            host.invite_for(data)
            old = host.response(host.challenge())
            assert host.verdict(old) == "OK"
            host.accept()
            host.reset()
            # The code depends on what the board sees first: the connection or its end.
            failed(device, start, "[23]")
        with StrongHost(device.board.ip) as host:
            start = device.said
            host.invite_for(data)
            host.challenge()
            assert host.verdict(old) == "Authentication Failed"
            not_proved(device, start)


def device_takes_strong(device):
    start = device.said
    device.upload(device.next_image(), auth="strict")
    device.confirmed(start)


def test_a_response_of_another_shape_is_refused(tmp_path):
    # After each refused response, the board waits longer before its next challenge. So this test
    # tries a few shapes only.
    with Device(tmp_path, **STRICT) as device:
        for shape in (
            lambda words: words[:2],
            lambda words: [*words[:2], words[2][:-1]],
            lambda words: [words[0], words[1][:-1], words[2]],
        ):
            with StrongHost(device.board.ip) as host:
                start = device.said
                host.invite_for(device.image())
                words = shape(host.response(host.challenge()).split())
                assert host.verdict(b" ".join(words) + b"\n") == "Authentication Failed"
                not_proved(device, start)
        device_takes_strong(device)


def test_a_response_that_comes_before_the_challenge_or_twice_is_ignored(tmp_path):
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        start = device.said
        data = device.next_image()
        host.announced = f"0:{len(data)}:{sha256_hex(data)}"
        host.say(host.response("0" * 64))
        assert not host.answers_within(0.3)
        host.invite_for(data)
        good = host.response(host.challenge())
        assert host.verdict(good) == "OK"
        host.accept()
        host.say(good)
        host.say(host.response("0" * 64, "wrong"))
        host.send(data)
        assert host.result() == "OK"
        device.confirmed(start)


def test_a_response_from_another_address_is_ignored(tmp_path):
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        start = device.said
        data = device.next_image()
        host.invite_for(data)
        good = host.response(host.challenge())
        with StrongHost(device.board.ip, ANOTHER) as other:
            other.say(b"200 %s %s\n" % (CNONCE.encode(), b"0" * 64))
            other.say(good)
            assert not other.answers_within(0.2)
        assert not host.answers_within(0.2)
        assert host.verdict(good) == "OK"
        assert host.send_all(data) == "OK"
        device.confirmed(start)


@pytest.mark.parametrize("wrong_first", [False, True])
def test_a_response_may_come_from_another_port_of_the_host_and_a_wrong_one_ends_nothing(
    tmp_path, wrong_first
):
    # espota.py of arduino-esp32 sends its response from another port than its invitation.
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        start = device.said
        data = device.next_image()
        host.invite_for(data)
        good = host.response(host.challenge())
        with StrongHost(device.board.ip) as other:
            # After a wrong response from another port, the board takes a response only from the
            # port of the invitation.
            if wrong_first:
                other.say(b"200 %s %s\n" % (CNONCE.encode(), b"0" * 64))
                assert not other.answers_within(0.2)
                host.say(good)
            else:
                other.say(good)
            assert host.answer() == "OK"
            assert host.send_all(data) == "OK"
        device.confirmed(start)


# Other ports, other words and other hosts


@pytest.mark.parametrize("port", [0, 1, 22, 80, 1023, 65536])
def test_no_port_is_dialled_that_a_service_of_the_host_may_have(tmp_path, device, port):
    with StrongHost(device.board.ip) as host:
        host.invite_for(device.image(), port=port)
        assert not host.answers_within(0.3)


def test_what_is_not_quite_the_stronger_invitation_gets_no_answer(device):
    data = device.image()
    md5, sha256 = hashlib.md5(data).hexdigest(), sha256_hex(data)
    with StrongHost(device.board.ip) as host:
        for words in (f"{md5} 1 {sha256}", f"{md5} 3 {sha256}", f"{md5} {sha256}", f"{md5} 2",
                      f"{md5} 2 {sha256[1:]}", f"{md5} 2 {sha256}0", f"{md5} 2 {sha256} x",
                      f"{md5} 2 {sha256[1:]}g", f"{md5[1:]} 2 {sha256}", f"{md5} 2 {md5}",
                      f"{md5[1:]}x 2 {sha256}", f"{md5} 2 {sha256}" + " " * 100):  # fmt: skip
            host.say(f"0 {host.port} {len(data)} {words}\n".encode())
            assert not host.answers_within(0.1), words


def test_a_second_host_is_not_dialled_and_the_first_succeeds(tmp_path):
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        start = device.said
        data = device.next_image()
        with StrongHost(device.board.ip) as spoof, StrongHost(device.board.ip, ANOTHER) as other:
            host.invite_for(data)
            nonce = host.challenge()
            other.invite_for(data)
            assert other.answer() == "ERR: ERROR[15]: Update already running\n"
            # This invitation has the address of the first host, as a forged datagram would have. It
            # gets no challenge.
            spoof.invite(1000)
            assert spoof.answer() == "ERR: ERROR[15]: Update already running\n"
            for noise in (b"0 \n", b"0 x\n", b"100 80 1 x\n", b"0 80 1000 %s\n" % (b"0" * 32)):
                spoof.say(noise)
            assert not spoof.answers_within(0.2)
            assert host.verdict(host.response(nonce)) == "OK"
            host.accept()
            spoof.invite_for(data)
            spoof.invite(1000)
            other.invite_for(data)
            assert "ERROR[15]" in other.answer() and "ERROR[15]" in spoof.answer()
            host.send(data)
            assert host.result() == "OK"
            assert not spoof.was_dialled() and not other.was_dialled()
        device.confirmed(start)


@pytest.mark.parametrize("ip", ["127.0.0.1", ANOTHER], ids=["another port", "another host"])
def test_nobody_else_begins_while_the_board_waits_for_an_answer(tmp_path, ip):
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip) as host:
        start = device.said
        data = device.next_image()
        host.invite_for(data)
        nonce = host.challenge()
        with StrongHost(device.board.ip, ip) as other:
            other.invite_for(device.image(files={"other.py": b""}))
            other.say(other.response(nonce))
            # The board may answer the other host, but not with a challenge.
            assert not other.answers_within(0.3, "AUTH")
            assert host.verdict(host.response(nonce)) == "OK"
            assert host.send_all(data) == "OK"
            assert not other.was_dialled()
        device.confirmed(start)


def test_a_host_that_does_not_answer_keeps_others_away_for_2_s_only(tmp_path):
    with Device(tmp_path, **STRICT) as device, StrongHost(device.board.ip, ANOTHER) as silent:
        begun = time.monotonic()
        silent.invite_for(device.image())
        silent.challenge()
        start = device.said
        data = device.next_image()
        with StrongHost(device.board.ip) as host:
            while True:
                silent.invite_for(device.image())  # to invite again does not help the silent host
                host.invite_for(data)
                said = host.answer()
                if said.startswith("AUTH2 "):
                    break
                assert "ERROR[15]" in said and time.monotonic() - begun < 10
                time.sleep(0.1)
            assert host.verdict(host.response(said.split()[1])) == "OK"
            assert host.send_all(data) == "OK"
        device.confirmed(start)


def test_an_upload_succeeds_in_a_flood_of_invitations(tmp_path):
    with Device(tmp_path, **STRICT) as device:
        data = device.next_image(files={"data.bin": bytes(90_000)})
        start, stop = device.said, threading.Event()
        flood = threading.Thread(target=_flood, args=(device.board, stop))
        try:
            with StrongHost(device.board.ip) as host:
                host.invite_for(data)
                assert host.verdict(host.response(host.challenge())) == "OK"
                flood.start()
                assert host.send_all(data) == "OK"
        finally:
            stop.set()
            flood.join()
        device.confirmed(start)


def _flood(board, stop):
    strong = b"0 40000 1000 " + b"0" * 32 + b" 2 " + b"0" * 64 + b"\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((ANOTHER, 0))
        while not stop.is_set():
            for _ in range(20):
                udp.sendto(strong, (board.ip, 8266))
                udp.sendto(b"0 40000 1000 " + b"0" * 32 + b"\n", (board.ip, 8266))
            stop.wait(0.001)


# Guessing


def test_after_wrong_passwords_the_next_answer_takes_seconds_and_the_right_one_is_good(tmp_path):
    with Device(tmp_path, **STRICT) as device:
        waits = []
        begun = 0.0  # when the guess before was sent: the board's pause begins after that
        for _ in range(5):
            start = device.said
            with StrongHost(device.board.ip) as host:
                host.invite_for(device.image())
                guess = host.response(host.challenge(), "guess")
                waits.append(time.monotonic() - begun)
                begun = time.monotonic()
                assert host.verdict(guess) == "Authentication Failed"
                not_proved(device, start)
        # The board measures the pauses by its own clock, which may be slow, but is never fast.
        assert all(
            wait >= ms / 1000 for wait, ms in zip(waits[1:], [490, 990, 1990, 3990], strict=True)
        )
        # This host repeats its invitation every 2.5 s. This does not delay the board's answer.
        device_takes_strong(device)
        assert time.monotonic() - begun >= 7.9


def test_a_host_that_asks_again_and_again_gains_no_guess(tmp_path):
    with Device(tmp_path, **STRICT) as device:
        for _ in range(2):
            start = device.said
            with StrongHost(device.board.ip) as host:
                host.invite_for(device.image())
                guess = host.response(host.challenge(), "guess")
                begun = time.monotonic()
                assert host.verdict(guess).startswith("Auth")
                not_proved(device, start)
        with StrongHost(device.board.ip) as host:
            for _ in range(20):
                host.invite_for(device.image())
                time.sleep(0.02)
            host.challenge()
            assert time.monotonic() - begun >= 0.99
