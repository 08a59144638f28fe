"""The restart into the services alone: for an update that has too little heap beside an application
on a board with a password.
"""

import hashlib
import time

import boards
import filling
import pytest
from device import Device
from mpota.arduino.outcomes import RefusedError, WrongPasswordError
from mpota.sim.rom_modules import control
from raw_host import PASSWORD, RawHost, StrongHost
from signing import SignedDevice

pytestmark = pytest.mark.parallel

NO_MEMORY, VETOED, NOT_NOW = 14, 32, 33
# A board whose application leaves only this much heap still takes updates.
LITTLE = boards.chip_kb(6)
SMALL_FILE = {"data.bin": bytes(range(256)) * 20}
# How long unmodified tools wait for an answer.
PATIENCE_S = 10

ALONE = "boot: the services run alone, for one update"
RESTARTS = "it restarts without it"


def full_device(folder, app="", *, join_s=0, **settings):
    """Return a board with a password whose application leaves little heap; *app* goes before that.

    It takes *join_s* seconds to join its network.
    """
    source = filling.leaving(LITTLE).replace("    held = None", f"    {app}\n    held = None", 1)
    device = Device(folder, source, **{"password": PASSWORD} | settings)
    device.board.control[control.JOIN_MS] = join_s * 1000
    return device


def count(device, pattern, start):
    """Return how many lines from *start* on have *pattern* in them."""
    return sum(pattern in line for line in device.board.lines[start:])


def is_full(device, start=0):
    """Wait until the application holds the heap."""
    device.board.wait_for("^leaves", start=start)


# Updates after a restart


@pytest.mark.campaign
def test_an_application_that_leaves_little_takes_every_update(tmp_path, campaign):
    updates = campaign.sample("updates through the restart", range(20), 3)
    with SignedDevice(tmp_path, filling.leaving(LITTLE), password=PASSWORD) as device:
        is_full(device)
        for _ in updates:
            start = device.said
            device.update(device.next_image(files=SMALL_FILE))
            is_full(device, device.line("^app ", start))
            assert count(device, "on_start", start) == 1
            assert count(device, ALONE, start) == 1
            # While the services run alone, they do not call the application's callbacks.
            assert not any(line.startswith("update ") for line in device.board.lines[start:])
        assert device.record.outcome == f"confirmed: {device.sequence}"
        assert device.board.violation == ""


@pytest.mark.parametrize("join_s", [2, 6])
@pytest.mark.parametrize("host", ["arduino", "mpota"])
def test_a_board_that_joins_late_is_in_time_for_its_host(tmp_path, host, join_s):
    with full_device(tmp_path, join_s=join_s) as device:
        is_full(device)
        start, data = device.said, device.next_image(files=SMALL_FILE)
        begun = time.monotonic()
        if host == "arduino":
            upload_as_arduino(device, data)
        else:
            device.upload(data)
        assert time.monotonic() - begun > join_s
        device.confirmed(start)
        assert count(device, ALONE, start) == 1


def upload_as_arduino(device, data):
    """Send *data* as espota.py does: one invitation, one answer, and 10 s of patience for each."""
    with RawHost(device.board.ip) as host:
        host.udp.settimeout(PATIENCE_S)
        host.listener.settimeout(PATIENCE_S)
        host.begin(data)
        host.send(data)
        assert host.result() == "OK"


def test_a_board_that_joins_too_late_for_arduinos_host_runs_the_old_version_again(tmp_path):
    with full_device(tmp_path, join_s=12) as device:
        is_full(device)
        start, data = device.said, device.next_image()
        with RawHost(device.board.ip) as host:
            host.udp.settimeout(PATIENCE_S)
            host.invite(len(data), hashlib.md5(data).hexdigest())
            with pytest.raises(TimeoutError):
                host.authenticate(host.answer())
        device.board.wait_for("app 1 runs, outcome: failed: no connection to", start=start)


def test_a_board_that_joins_too_late_for_others_is_waited_for_by_mpota(tmp_path):
    with full_device(tmp_path, join_s=12) as device:
        is_full(device)
        start = device.said
        device.upload(device.next_image())
        assert count(device, ALONE, start) == 1
        device.board.wait_for("app 2 runs", start=start)


# While the services run alone


# This main.py prints the levels of two pins, and then starts the services as the board's own
# main.py does.
MAIN = b"""
from machine import Pin
print("pins", Pin(4).value(), Pin(5).value())
import ota.start
ota.start.run()
"""


def test_the_safe_pins_have_their_levels_while_the_services_run_alone(tmp_path):
    with full_device(tmp_path, safe_pins={"4": 1, "5": 0}) as device:
        start = device.change_files(lambda files: files.update({"/main.py": MAIN}))
        is_full(device, start)
        device.board.wait_for("^pins 0 0", start=start)
        start = device.said
        device.update(device.next_image())
        alone = device.line(ALONE, start)
        device.board.wait_for("^pins 1 0", start=alone)
        tried = device.line("on trial", start)
        device.board.wait_for("^pins 0 0", start=tried)


def test_the_services_alone_take_the_update_that_was_kept_and_no_other(tmp_path):
    with full_device(tmp_path) as device, RawHost(device.board.ip) as host:
        is_full(device)
        start, data = device.said, device.next_image(files={"data.bin": bytes(30_000)})
        host.begin(data)
        with RawHost(device.board.ip) as other:
            other.invite(1000)
            assert "ERROR[15]" in other.answer()
            assert not other.was_dialled()
        host.send(data)
        assert host.result() == "OK"
        device.confirmed(start)


def test_an_update_that_fails_is_told_to_the_next_boot_of_the_application(tmp_path):
    with full_device(tmp_path) as device, RawHost(device.board.ip) as host:
        is_full(device)
        start, data = device.said, device.image(files=SMALL_FILE)[:-1] + b"x"
        host.begin(data)
        host.send(data)
        assert "ERROR[37]" in host.result()
        device.board.wait_for("app 1 runs, outcome: failed: ERROR.37.", start=start)
        assert count(device, "on_start", start) == 1
        device.takes_an_update()


# When the board does not restart


def stays_up(device, *codes, **options):
    """Upload, be refused with one of *codes* without a restart; return the error."""
    boots = device.board.boots
    with pytest.raises(RefusedError) as caught:
        device.upload(device.image(), **options)
    assert caught.value.code in codes, caught.value
    assert device.board.boots == boots
    return caught.value


def test_where_it_is_forbidden_the_host_is_told_how_much_heap_there_is(tmp_path):
    with full_device(tmp_path, restart_for_update=False) as device:
        is_full(device)
        start = device.said
        error = stays_up(device, NO_MEMORY)
        free, needed = device.board.wait_for(
            r"refused: .* (\d+) of (\d+) bytes", start=start
        ).groups()
        assert int(free) <= LITTLE < int(needed)
        assert "restart_for_update" in str(error)
        assert count(device, "on_start", start) == 0
        # Older tools read no more than 32 bytes of the answer.
        with StrongHost(device.board.ip) as host:
            host.invite_for(device.image())
            said = host.verdict(host.response(host.challenge()))[:32]
            assert said.startswith("ERR: ERROR[14]: ") and " of " in said


def test_an_open_board_is_not_restarted(tmp_path):
    with full_device(tmp_path, password=None) as device:
        is_full(device)
        error = stays_up(device, NO_MEMORY)
        assert "set a password" in str(error)


def test_a_wrong_password_restarts_nothing(tmp_path):
    with full_device(tmp_path) as device:
        is_full(device)
        boots, start = device.board.boots, device.said
        for auth in ("strict", "classic"):
            device.fails(device.image(), WrongPasswordError, password="guess", auth=auth)
        assert device.board.boots == boots and count(device, "on_start", start) == 0
        device.takes_an_update()


@pytest.mark.parametrize(
    "closed", ["ota.gate = lambda: False", "ota.allow_for(0)"], ids=["gate", "window"]
)
def test_where_updates_are_not_allowed_nothing_is_restarted(tmp_path, closed):
    with full_device(tmp_path, closed) as device:
        is_full(device)
        start = device.said
        stays_up(device, NOT_NOW)
        assert count(device, "on_start", start) == 0


def test_an_application_that_refuses_the_update_is_not_restarted(tmp_path):
    with full_device(tmp_path, "ota.on_start(lambda: 1 / 0)") as device:
        is_full(device)
        assert "divide by zero" in str(stays_up(device, VETOED))


# What is kept during the restart


KEPT = control.RTC + 0x1A0
KEPT_BYTES = 92
STATE = control.RTC + control.RTC_SIZE - 4


def test_a_reset_in_the_middle_runs_the_application_and_nothing_is_taken_twice(tmp_path):
    with full_device(tmp_path) as device, RawHost(device.board.ip) as host:
        is_full(device)
        data = device.next_image(files=SMALL_FILE)
        host.begin(data)
        host.send(data[:2920])
        device.line(ALONE)
        start = device.said
        device.board.reset()
        device.board.wait_for("app 1 runs", start=start)
        is_full(device, start)
        assert count(device, ALONE, start) == 0
        device.sequence = 1
        device.takes_an_update()


@pytest.mark.parametrize(
    "what", ["the check", "the version", "the magic", "all of it", "the state"]
)
def test_a_block_that_is_damaged_or_of_another_version_counts_as_none(tmp_path, what):
    with full_device(tmp_path) as device, RawHost(device.board.ip) as host:
        is_full(device)
        page = device.board.control
        host.listener.listen()
        block = restart_block(host.port, version=2 if what == "the version" else 1,
                              magic=b"MPRX" if what == "the magic" else b"MPRT")  # fmt: skip
        if what == "the check":
            block[70] ^= 1
        elif what == "all of it":
            block = bytearray(b"\xa5" * KEPT_BYTES)
        for at in range(0, KEPT_BYTES, 4):
            page[KEPT + at] = int.from_bytes(block[at : at + 4], "little")
        version = 0x4D33 if what == "the state" else 0x4D32
        page[STATE] = version << 16 | ord("!")
        start = device.said
        device.board.reset()
        device.board.wait_for("app 1 runs", start=start)
        is_full(device, start)
        assert not host.was_dialled()
        assert count(device, ALONE, start) == (what != "the state")
        device.takes_an_update()


def restart_block(port, *, version, magic):
    """Return the block that docs/SPEC.md has for an invitation to *port* of 127.0.0.1."""
    body = magic + bytes([version, 1, 0, 0, 127, 0, 0, 1])
    body += (9).to_bytes(2, "little") + port.to_bytes(2, "little") + (5000).to_bytes(4, "little")
    body += bytes(16 + 32)
    return bytearray(body + hashlib.sha256(body).digest()[:8]).ljust(KEPT_BYTES, b"\0")


def test_a_whole_block_is_what_the_test_of_damaged_ones_takes_it_for(tmp_path):
    with full_device(tmp_path) as device, RawHost(device.board.ip) as host:
        is_full(device)
        host.listener.listen()
        block = restart_block(host.port, version=1, magic=b"MPRT")
        for at in range(0, KEPT_BYTES, 4):
            device.board.control[KEPT + at] = int.from_bytes(block[at : at + 4], "little")
        device.board.control[STATE] = 0x4D32 << 16 | ord("!")
        device.board.reset()
        host.accept()
