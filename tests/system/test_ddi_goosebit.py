"""Boards that ask goosebit, which others have written after hawkBit's DDI."""

import importlib.util
import time

import boards
import pytest
from device import Device
from hawkbit import mac
from test_ddi import RAISING_APP

_PATIENCE_S = 60
_FILE = boards.ROOT / "examples" / "goosebit_server.py"
_SPEC = importlib.util.spec_from_file_location("goosebit_server", _FILE)
goosebit_server = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(goosebit_server)
TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def goosebit(tmp_path_factory):
    with goosebit_server.Goosebit(tmp_path_factory.mktemp("goosebit")) as server:
        yield server


def comes_to(condition):
    """Wait until *condition* holds."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def state_is(server, name, state):
    comes_to(lambda: server.devices().get(name, {}).get("last_state") == state)


def test_a_roll_out_ends_well_and_the_next_one_fails_with_its_reason(tmp_path, goosebit):
    with Device(tmp_path, ddi_url=goosebit.url, update_interval_s=1) as device:
        name = mac(device)
        state_is(goosebit, name, "Registered")
        assert goosebit.devices()[name]["sw_version"] == "1"
        data = device.next_image(files={"data.bin": bytes(range(250)) * 100})
        rollout = goosebit.roll_out(goosebit.upload(data, "garden.img"))
        start = device.said
        device.confirmed(start)
        state_is(goosebit, name, "Finished")
        assert goosebit.devices()[name]["sw_version"] == "2"
        assert goosebit.rollout(rollout)["success_count"] == 1
        assert "download" in goosebit.log(name) and "confirmed: 2" in goosebit.log(name)

        bad = goosebit.roll_out(goosebit.upload(device.next_image(RAISING_APP), "bad.img"))
        state_is(goosebit, name, "Error")
        assert "taken back: 3: raised ValueError: of no use" in goosebit.log(name)
        assert goosebit.rollout(bad)["failure_count"] == 1
        device.board.wait_for("app 2 runs", start=device.line("taken back"))
        assert device.board.violation == ""


def test_a_download_from_goosebit_goes_on_after_a_power_cut(tmp_path, goosebit):
    goosebit.set("cut", feed="cut")
    with Device(tmp_path, ddi_url=goosebit.url, ddi_id="cut", update_interval_s=1) as device:
        state_is(goosebit, "cut", "Registered")
        device.board.cut_power_after(50)
        device.sequence = 6
        image = device.next_image(files={"data.bin": bytes(range(250)) * 240})
        goosebit.roll_out(goosebit.upload(image, "large.img"), "cut")
        assert device.board.wait_for_power_cut()
        device.board.cut_power_after(None)
        device.board.power_on()
        state_is(goosebit, "cut", "Finished")
        assert device.slot(device.record.active)[: len(image)] == image


def test_goosebit_refuses_a_board_without_its_token(tmp_path):
    with goosebit_server.Goosebit(tmp_path / "strict", auth="strict") as goosebit:
        goosebit.set("valve", auth_token=TOKEN)
        for token, said in ((TOKEN[::-1], "Unauthorized .401."), (TOKEN, "pull: no update")):
            folder = tmp_path / token
            folder.mkdir()
            settings = {"ddi_url": goosebit.url, "ddi_id": "valve", "update_interval_s": 1}
            with Device(folder, ddi_target_token=token, **settings) as device:
                device.board.wait_for(said)
        assert goosebit.devices()["valve"]["last_state"] == "Registered"
