"""A heap that an application has filled: an update begins and succeeds, or does not begin."""

import contextlib
import re

import boards
import filling
import pytest
from device import Device
from mpota.arduino.transfer import CHUNK
from raw_host import PASSWORD, StrongHost
from signing import SignedDevice, signed

pytestmark = pytest.mark.parallel

STEP_BYTES = 512
# The tests leave at most this much free heap, which is enough for an update. The least is 0 bytes.
MOST_BYTES = {"open": boards.chip_kb(15), "signed": boards.chip_kb(20)}
FILES = {"data.bin": bytes(range(256)) * 12}
_PATIENCE_S = 2


class Holding:
    """A board whose application can be told to hold the heap, and a host for it."""

    def __init__(self, folder, kind):
        device = Device if kind == "open" else SignedDevice
        settings = {"password": PASSWORD, "restart_for_update": False} if kind != "open" else {}
        # An update that has been verified does not restart the board: the next one replaces it.
        self.device = device(folder, filling.HOLDING_APP, reboot_on_success=False, **settings)

    def __enter__(self):
        self.device.__enter__()
        return self

    def __exit__(self, *_):
        self.device.__exit__()

    def leave(self, free, phase="now", ms=3000):
        """Let the application hold all but *free* bytes from that phase on, for *ms*."""
        start = self.device.command(f"leave({free}, {phase!r}, {ms})")
        if phase == "now":
            self.device.board.wait_for("holds now", start=start)

    def update(self, phase=""):
        """Send an update; return what the host was told: "", the ERR, or the result.

        When it was asked for the password, it waits for an application that holds the heap then.
        """
        while "ERROR[15]" in (said := self._update(phase)):
            pass  # the board still waits for an answer of the previous host
        return said

    def _update(self, phase):
        start = self.device.said
        data = self.device.image(files=FILES)
        if isinstance(self.device, SignedDevice):
            data = signed(self.device.folder, data, self.device.key)
        with StrongHost(self.device.board.ip) as host:
            host.udp.settimeout(_PATIENCE_S)
            host.invite_for(data)
            with contextlib.suppress(TimeoutError):
                said = host.answer()
                if phase == "asked":
                    self.device.board.wait_for("holds asked", start=start)
                if said.startswith("AUTH2 "):
                    said = host.verdict(host.response(said.split()[1]))
                return "result " + send(host, data) if said == "OK" else said
        return ""

    def lets_go(self, start):
        """Wait until the application has let go, since line *start*."""
        self.device.board.wait_for("has let go", start=start)


def send(host, data):
    """Send *data* to a board that has said OK; return the result, or an answer that is no count."""
    host.accept()
    for at in range(0, len(data), CHUNK):
        chunk = data[at : at + CHUNK]
        host.tcp.sendall(chunk)
        said = host.tcp.recv(256)
        if said != b"%d" % len(chunk):
            return said.decode() + host.result()
    return host.result()


def sizes(campaign, kind):
    every = range(0, MOST_BYTES[kind] + STEP_BYTES, STEP_BYTES)
    return campaign.sample(f"full heap, {kind}", every, 5)


@pytest.mark.campaign
@pytest.mark.parametrize("kind", MOST_BYTES)
def test_an_update_that_begins_in_a_full_heap_succeeds(tmp_path, campaign, kind):
    told = {}
    with Holding(tmp_path, kind) as board:
        for free in sizes(campaign, kind):
            start = board.device.said
            board.leave(free)
            said = told[free] = board.update()
            assert said in ("", "result OK") or said.startswith("ERR: ERROR[14]: "), (free, said)
            if told_bytes := re.search(r"(\d+) of (\d+) bytes free", said):
                assert int(told_bytes[1]) < int(told_bytes[2])
            board.lets_go(start)
            if said != "result OK":
                # The services still work: with more free heap, an update succeeds.
                assert board.update() == "result OK", (free, said)
        largest = max(told)
        assert largest < MOST_BYTES[kind] or told[largest] == "result OK"
        assert told[min(told)] != "result OK"
        assert board.device.board.violation == ""


# The phases of an update before the board tells the host OK, and the phases after that.
BEFORE_OK, AFTER_OK = ("asked", "start"), ("progress", "last")


@pytest.mark.campaign
@pytest.mark.parametrize("phase", BEFORE_OK + AFTER_OK)
def test_a_heap_that_is_filled_while_an_update_goes_on_leaves_the_services_well(
    tmp_path, campaign, phase
):
    every = range(0, boards.chip_kb(8), STEP_BYTES)
    with Holding(tmp_path, "signed") as board:
        for free in campaign.sample(f"full heap, {phase}", every, 4):
            start = board.device.said
            board.leave(free, phase)
            said = board.update(phase)
            # After the OK, an update succeeds if the application leaves 1.5 KB. An application that
            # leaves less than that may make the update fail.
            if phase in AFTER_OK and free >= boards.chip_kb(1.5):
                assert said == "result OK", (free, said)
            # The application's own on_start may find no memory, once it has filled the heap.
            refused = phase == "start" and said.startswith("ERR: ERROR[32]: Refused by the appl")
            assert said in ("", "result OK") or "ERROR[14]" in said or refused, (free, said)
            board.lets_go(start)
            assert board.update() == "result OK", (free, said)
