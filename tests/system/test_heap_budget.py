"""What the services take of the heap, idle and at the peak of an update: printed, and bounded."""

import boards
import pytest
from device import APP, Device
from mpota.sim import Board, create_flash
from signing import SignedDevice

# An application that notes the heap in use: the benchmark's.
IDLE_APP = (boards.ROOT / "bench" / "apps" / "idle.py").read_text()

COUNT_NAMES = "import micropython\nmicropython.qstr_info()\n"
# The same, that tells as well how many names the interpreter has had to add to its own.
COUNTING_APP = COUNT_NAMES + IDLE_APP.replace(
    "def main(ota):\n", "def main(ota):\n    ota.arduino.on_end(micropython.qstr_info)\n"
)
NAMES = r"^qstr pool: .*n_qstr=(\d+)"

# Says which modules of the package are loaded when its callbacks are called.
MODULES_APP = """
import sys

def main(ota):
    said = []

    def tell(when):
        if when not in said:
            said.append(when)
            print(when, " ".join(sorted([name[4:] for name in sys.modules if name[:4] == "ota."])))

    ota.on_progress(lambda done, total: tell("progress"))
    ota.on_end(lambda: tell("end"))
    while True:
        ota.handle()
"""

# In bytes of this interpreter, whose objects are larger: the 16 KB that an update may take of the
# chip's 38 KiB are as much of 56 KiB. Idle, the chip has 6 KB; here the table of names, with 11
# bytes an entry, takes more.
PEAK_LIMIT_BYTES = 16 * 1024 * 56 // 38
IDLE_LIMIT_BYTES = 21 * 512


def in_use_without_services(folder):
    """Return what the application and the interpreter take alone, in bytes."""
    script = IDLE_APP + "\ngc.collect()\nprint('bare', gc.mem_alloc())\n"
    create_flash(folder / "bare.img", {"/main.py": script.encode()})
    with Board(folder / "bare.img", ip=boards.own_ip()) as board:
        return int(board.wait_for(r"^bare (\d+)")[1])


@pytest.mark.parametrize("image_bytes", [3_000, 300_000])
def test_the_heap_is_bounded_whatever_the_size_of_the_image(tmp_path, record_property, image_bytes):
    bare = in_use_without_services(tmp_path)
    # One step a call, so that the application sees every moment of the update.
    with Device(tmp_path, IDLE_APP, step_ms=0) as device:
        idle = int(device.board.wait_for(r"^idle (\d+)")[1])
        device.upload(device.next_image(APP, {"data.bin": bytes(image_bytes)}))
        peak = int(device.board.wait_for(r"^peak (\d+)")[1])
    record_property(
        f"heap in an update of {image_bytes} bytes",
        f"idle {idle - bare} bytes, peak {peak - idle} bytes more",
    )
    assert idle - bare <= IDLE_LIMIT_BYTES
    assert peak - idle <= PEAK_LIMIT_BYTES


def test_the_names_of_a_whole_update_leave_room_in_the_table_for_those_of_an_application(
    tmp_path, record_property
):
    create_flash(tmp_path / "bare.img", {"/boot.py": COUNT_NAMES.encode()})
    with Board(tmp_path / "bare.img", ip=boards.own_ip()) as board:
        simulator_names = int(board.wait_for(NAMES)[1])
    with Device(tmp_path, COUNTING_APP) as device:
        start = device.said
        device.upload(device.next_image(APP))
        names = int(device.board.wait_for(NAMES, start=start)[1]) - simulator_names
    record_property("names that an update adds to the table", f"{names} of 300")
    # The next table, for 320 more, is a piece of 3.5 KB.
    assert names <= 200


def test_an_update_with_a_password_and_keys_takes_no_more(tmp_path, record_property):
    with SignedDevice(tmp_path, IDLE_APP, step_ms=0, password="secret") as device:
        idle = int(device.board.wait_for(r"^idle (\d+)")[1])
        device.upload(device.next_image(APP, {"data.bin": bytes(30_000)}))
        peak = int(device.board.wait_for(r"^peak (\d+)")[1])
    record_property("heap in a signed update with a password", f"peak {peak - idle} bytes more")
    assert peak - idle <= PEAK_LIMIT_BYTES


def test_a_module_is_forgotten_when_its_part_of_the_update_is_over(tmp_path):
    with SignedDevice(tmp_path, MODULES_APP, password="secret", confirm_s=3600) as device:
        device.upload(device.next_image(APP))
        progress, end = (
            set(device.board.wait_for(rf"^{when} (.*)")[1].split()) for when in ("progress", "end")
        )
    listening = {"errors", "espota", "espota_session", "log", "md5_viper", "start", "updater"}
    assert progress == listening | {"espota_transfer", "md5"}
    assert end == listening | {"record", "slots", "stage"}
