"""Going back to the previous version, at the owner's wish."""

import pytest
from device import APP, COMMANDED_APP, Device
from mpota.board.flash import read_slot

pytestmark = pytest.mark.parallel

REJECTED, BELOW_FLOOR, DAMAGED = 35, 36, 37
NO_WAY = rf"raises OTAError ERROR.{DAMAGED}.: Image is truncated or damaged: there is no version"


def test_the_version_before_is_tried_again_and_the_one_that_was_left_is_not_taken_again(tmp_path):
    with Device(tmp_path, COMMANDED_APP) as device:
        newer = device.next_image()
        device.update(newer)
        start = device.command("ota.revert()", start=device.line("app 2 runs"))
        device.board.wait_for("revert: slot a is tried again", start=start)
        device.board.wait_for("boot: slot a on trial, boot 1 of 3", start=start)
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("slot a is confirmed", start=start)
        record = device.record
        assert (record.active, record.floor, record.rejected) == ("a", 2, 2)
        assert record.outcome == "confirmed: 1"
        # The board does not take the running version either, nor one older than the one that it
        # left.
        device.refuses(newer, REJECTED)
        device.sequence = 1
        device.refuses(device.image(), BELOW_FLOOR)
        device.sequence = 2
        device.takes_an_update()


def test_going_back_and_forth_is_possible_until_an_update_begins(tmp_path):
    with Device(tmp_path, COMMANDED_APP) as device:
        device.update()
        start = device.line("app 2 runs")
        for version in (1, 2, 1):
            start = device.command("ota.revert()", start)
            start = device.line(f"app {version} runs", start)
            device.board.wait_for("is confirmed", start=start)
            assert device.record.floor == 2
        # The update is refused, and has overwritten the version in that slot.
        device.sequence = 3
        device.refuses(device.image()[:-1] + b"x", DAMAGED)
        start = device.command("ota.revert()", start)
        device.board.wait_for(NO_WAY, start=start)
        device.sequence = 2
        device.takes_an_update()


def test_where_there_is_no_version_before_nothing_happens(tmp_path):
    with Device(tmp_path, COMMANDED_APP) as device, device.unharmed():
        device.command("ota.revert()")
        device.board.wait_for(NO_WAY)


# An application that fails when it is started for the second time.
FAILING_APP = COMMANDED_APP.replace(
    '    print("app',
    """    try:
        open("/started")
        raise ValueError("started again")
    except OSError:
        open("/started", "w").close()
    print("app""",
)


def test_a_version_before_that_does_not_work_any_more_is_taken_back_and_stays_so(tmp_path):
    with Device(tmp_path, FAILING_APP) as device:
        device.update(device.next_image(COMMANDED_APP))
        start = device.command("ota.revert()", start=device.line("app 2 runs"))
        device.board.wait_for("ValueError: started again", start=start)
        start = device.line("app 2 runs", start)
        assert read_slot(device.board.flash, "a").rejected
        assert device.record.rejected == 1
        start = device.command("ota.revert()", start)
        device.board.wait_for(NO_WAY, start=start)
        device.app = APP
        device.takes_an_update()


def test_in_a_trial_going_back_is_taking_it_back(tmp_path):
    with Device(tmp_path, COMMANDED_APP) as device:
        start = device.said
        patient = COMMANDED_APP.replace("    print(", "    ota.auto_confirm = False\n    print(", 1)
        data = device.next_image(patient)
        device.upload(data)
        start = device.command("ota.revert()", start=device.line("app 2 runs", start))
        start = device.line("app 1 runs", start)
        assert device.record.outcome.startswith("taken back: 2: ")
        device.board.wait_for("listens", start=start)
        device.refuses(data, REJECTED)
        device.takes_an_update()


def test_a_revert_that_loses_its_power_is_tried_again(tmp_path):
    with Device(tmp_path, COMMANDED_APP) as device:
        device.update()
        start = device.command("ota.revert()", start=device.line("app 2 runs"))
        start = device.line("boot: slot a on trial, boot 1 of 3", start)
        device.board.power_off()
        start = device.said
        device.board.power_on()
        device.board.wait_for("app 1 runs", start=start)
        device.board.wait_for("is confirmed", start=start)
        device.takes_an_update()
