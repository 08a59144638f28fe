"""Updates of /data: by mpota, by a host like espota.py, by the page and by a server; alone and with
an application; what the application finds, what is kept, and what is refused.
"""

import gzip
import hashlib
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import boards
import pytest
from data_files import FILES, fat_image, images, spiffs_image, tar_image
from device import Device
from mpota import arduino
from mpota.image import data
from pulling import PullingDevice
from raw_host import RawHost
from web_client import WebDevice
from web_site import WebSite, file

pytestmark = pytest.mark.parallel

# This application prints which files it finds under /data, and that it runs.
TELLS = """
import os, time

def tell(folder):
    for entry in sorted(os.ilistdir(folder)):
        name = folder + "/" + entry[0]
        if entry[1] == 0x4000:
            tell(name)
        elif entry[0] != ".mpota":
            with open(name, "rb") as f:
                print("has", name[6:], sum(f.read()))

def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    ota.on_end(lambda: print("update ended"))
    if "data" in os.listdir("/"):
        tell("/data")
    print("app {version} runs")
    {more}
    while not ota.healthy:
        ota.handle()
    print("is healthy")
    while True:
        ota.handle()
        time.sleep_ms(10)
"""
APP = TELLS.replace("{more}", "pass")
# This application raises an error when it finds the new data.
PICKY = TELLS.replace("{more}", "if 'bad' in os.listdir('/data'): raise ValueError('bad data')")
WRITES = APP.replace(
    '    print("app', "    with open('/data/own', 'w') as f: f.write('mine')\n    print(\"app"
)

OLD = {"/data/old.txt": b"old", "/data/settings.json": b"mine"}


@contextmanager
def device_with(folder: Path, app: str = APP, kind: type[Device] = Device, **settings: object):
    """Yield a board that runs *app* and has OLD in /data."""
    device = kind(folder, app, **settings)
    boards.change_files(device.board.flash, lambda files: files.update(OLD))
    with device:
        yield device


def found(device: Device, start: int, version: int | None = None) -> dict[str, int]:
    """Return what the application that starts after *start* finds, name to sum of its bytes."""
    end = device.line(f"app {version or device.sequence} runs", start)
    lines = [line.split() for line in device.board.lines[start:end] if line.startswith("has ")]
    return {name: int(total) for _, name, total in lines}


def sums(files: dict[str, bytes]) -> dict[str, int]:
    return {name: sum(content) for name, content in files.items()}


BEFORE = sums({name.removeprefix("/data/"): content for name, content in OLD.items()})


def send(device: Device, content: bytes, command: int = arduino.FILE_SYSTEM) -> int:
    start = device.said
    device.upload(content, command=command)
    return start


def data_confirmed(device: Device, start: int) -> None:
    device.board.wait_for("is confirmed", start=start)
    assert device.record.outcome == "confirmed: data"


def settled(device: Device, start: int) -> dict[str, bytes]:
    """Wait until the trial after line *start* has ended and left nothing; give all files."""
    end = device.line("is confirmed|/data is as before", start)
    device.board.wait_for("is healthy", start=end)
    files = device.files()
    assert not [name for name in files if name.startswith("/.ota/data")]
    return files


# Every way to send data to a board


def test_mpota_sends_a_folder_and_the_application_finds_its_files(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with device_with(tmp_path) as device:
        start = device.said
        done = subprocess.run(
            [sys.executable, "-m", "mpota", "upload", "-s", tmp_path / "files", "-i",
             device.board.ip],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("files: confirmed\n")
        assert found(device, start) == sums(FILES)
        data_confirmed(device, start)
        assert "/data/old.txt" not in settled(device, start)
        told = subprocess.run(
            [sys.executable, "-m", "mpota", "status", device.board.ip],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        content = data.build(FILES, data.TAR)
        assert f" data {hashlib.sha256(content).hexdigest()[:8]}… " in told.stdout
        device.takes_an_update()


@pytest.mark.parametrize("name", images())
def test_a_littlefs_of_every_tool_is_taken(tmp_path, name):
    with device_with(tmp_path) as device:
        start = send(device, images()[name])
        assert found(device, start) == sums(FILES)
        data_confirmed(device, start)


def test_a_host_like_espota_sends_an_image(tmp_path):
    content = tar_image()
    with device_with(tmp_path) as device, RawHost(device.board.ip) as host:
        start = device.said
        host.invite(len(content), hashlib.md5(content).hexdigest(), command=100)
        assert host.answer() == "OK"
        host.accept()
        host.send(content)
        assert host.result() == "OK"
        assert found(device, start) == sums(FILES)
        data_confirmed(device, start)


def test_a_gzip_is_unpacked(tmp_path):
    with device_with(tmp_path) as device:
        start = send(device, gzip.compress(tar_image(), 9))
        assert found(device, start) == sums(FILES)
        data_confirmed(device, start)


@pytest.mark.parametrize("how", ["form", "body"])
def test_the_page_takes_data(tmp_path, how):
    content = tmp_path / "data.tar"
    content.write_bytes(tar_image())
    with device_with(tmp_path, kind=WebDevice) as device:
        start = device.said
        if how == "form":
            answer = device.curl("-F", f"filesystem=@{content}")
        else:
            answer = device.curl("--data-binary", f"@{content}", path="?data")
        assert "Update Success" in answer.text
        assert found(device, start) == sums(FILES)
        data_confirmed(device, start)


def test_the_application_lets_the_board_ask_a_server(tmp_path):
    with WebSite() as site, PullingDevice(tmp_path) as device:
        url = site.add("/fs", file(tar_image()))
        outcome = device.ask("update_fs", url, reboot_on_update=False)
        assert (outcome.result, outcome.error) == ("2", 0), outcome
        assert site.asked("/fs")[0].headers["x-esp8266-mode"] == "spiffs"
        start = device.boot()
        data_confirmed(device, start)
        found_files = {n: c for n, c in device.files().items() if n.startswith("/data/")}
        assert found_files["/data/index.html"] == FILES["index.html"]


# Data that are taken back


def test_data_that_the_application_does_not_stand_are_taken_back(tmp_path):
    with device_with(tmp_path, PICKY) as device:
        start = send(device, tar_image({"bad": b"1"}))
        line = device.line("trial: taken back: raised ValueError: bad data", start)
        assert found(device, line) == BEFORE
        outcome = device.record.outcome
        assert outcome.startswith("taken back: data: raised ValueError: bad data")
        settled(device, line)
        assert device.record.rejected == 0
        start = send(device, tar_image({"good": b"1"}))
        assert found(device, start) == {"good": 49}
        data_confirmed(device, start)


def test_mpota_tells_that_data_were_taken_back(tmp_path):
    path = tmp_path / "data.tar"
    path.write_bytes(tar_image({"bad": b"1"}))
    with device_with(tmp_path, PICKY) as device:
        done = subprocess.run(
            [sys.executable, "-m", "mpota", "upload", "-s", path, "-i", device.board.ip],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert (
            "data.tar: taken back: raised ValueError: bad data; small 1 runs again" in done.stderr
        )


# Data together with an application


def tied(
    device: Device, app: str, files: dict[str, bytes], **fields: object
) -> tuple[bytes, bytes]:
    """Return the next release of *app* and the image of the data that belong to it."""
    device.sequence += 1
    content = data.build(files, data.TAR)
    source = {"app.py": app.replace("{version}", str(device.sequence)).encode()}
    release = boards.application_image(
        source, name="small", version=str(device.sequence), sequence=device.sequence,
        data=data.digest(content), **fields,
    )  # fmt: skip
    return release, content


def test_data_and_their_application_are_tried_and_confirmed_together(tmp_path):
    with device_with(tmp_path) as device:
        release, content = tied(device, APP, {"new.txt": b"2"})
        start = send(device, content, arduino.TIED)
        device.board.wait_for("update ended", start=start)
        boots = device.board.boots
        device.upload(release)
        assert device.board.boots == boots  # the board did not restart between the two
        assert found(device, start) == {"new.txt": 50}
        device.confirmed(start)
        assert device.record.outcome == f"confirmed: {device.sequence}"
        assert "/data/old.txt" not in settled(device, start)


def test_data_and_their_application_are_taken_back_together(tmp_path):
    with device_with(tmp_path) as device:
        release, content = tied(device, PICKY, {"bad": b"2"})
        start = send(device, content, arduino.TIED)
        device.upload(release)
        line = device.line("trial: taken back", start)
        device.sequence -= 1
        assert found(device, line) == BEFORE
        assert device.record.outcome.startswith("taken back: 2: raised ValueError")
        assert settled(device, line)["/data/old.txt"] == b"old"


def test_mpota_sends_both_with_one_command(tmp_path):
    files, folder = tmp_path / "files", tmp_path / "small"
    files.mkdir()
    folder.mkdir()
    (files / "new.txt").write_bytes(b"2")
    with device_with(tmp_path) as device:
        device.sequence = 2
        release, content = tied(device, APP, {"new.txt": b"2"})
        image = tmp_path / "small.img"
        image.write_bytes(release)
        command = [sys.executable, "-m", "mpota", "upload", image, "-i", device.board.ip]
        options = {"capture_output": True, "text": True, "timeout": 120, "check": False}
        # Without the data, the board refuses the application.
        refused = subprocess.run(command, **options)
        assert refused.returncode == 1 and "ERROR[48]" in refused.stderr
        assert "send both with one command: 'mpota upload --data'" in refused.stderr
        other = tmp_path / "other.tar"
        other.write_bytes(tar_image())
        wrong = subprocess.run([*command, "--data", other], **options)
        assert wrong.returncode == 1 and "does not hold the data that" in wrong.stderr
        start = device.said
        (tmp_path / "small.img.data.tar").write_bytes(content)
        done = subprocess.run(command, **options)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("small 3: confirmed\n")
        assert found(device, start) == {"new.txt": 50}


def test_both_come_though_the_board_must_restart_without_its_application_for_them(tmp_path):
    full = APP.replace("    while not", "    held = fill()\n    while not") + FILL
    with device_with(tmp_path, full, password="geheim") as device:
        release, content = tied(device, APP, {"new.txt": b"2"})
        start = send(device, content, arduino.TIED)
        device.board.wait_for("the services run alone", start=start)
        device.upload(release)
        assert found(device, start) == {"new.txt": 50}
        device.confirmed(start)


FILL = f"""
def fill():
    import gc
    held = None
    gc.collect()
    while gc.mem_free() > {boards.chip_kb(7)}:
        held = held, bytearray(100)
        gc.collect()
    return held
"""


def test_an_application_that_names_data_keeps_others_away(tmp_path):
    with device_with(tmp_path) as device:
        release, content = tied(device, APP, {"new.txt": b"2"})
        start = send(device, content, arduino.TIED)
        device.upload(release)
        device.confirmed(start)
        error = device.refuses(tar_image(), 48, command=arduino.FILE_SYSTEM)
        assert "names others" in str(error)
        # The same data are taken again, so that they can mend what the application has broken.
        start = send(device, content)
        assert found(device, start) == {"new.txt": 50}


# What is kept


def test_files_that_the_application_wants_to_keep_survive(tmp_path):
    with device_with(tmp_path) as device:
        release, content = tied(
            device, WRITES, {"new.txt": b"2", "settings.json": b"theirs"},
            keep=["settings.json", "own*"],
        )  # fmt: skip
        start = send(device, content, arduino.TIED)
        device.upload(release)
        assert found(device, start) == {"new.txt": 50, "settings.json": sum(b"mine")}
        device.confirmed(start)
        files = settled(device, start)
        assert files["/data/own"] == files["/data/settings.json"] == b"mine"
        assert "/data/old.txt" not in files


# What is refused


def test_a_bomb_ends_at_the_file_system_and_leaves_its_room(tmp_path):
    bomb = gzip.compress(tar_image({"zeros": bytes(20_000_000)}), 9)
    assert len(bomb) < 25_000
    with device_with(tmp_path) as device:
        error = device.refuses(bomb, 4, command=arduino.FILE_SYSTEM)
        assert "Not Enough Space" in str(error)
        device.board.wait_for("is healthy")
        assert device.files()["/data/old.txt"] == b"old"
        # The board is healthy again when it has removed what is left of the bomb. Then there is
        # room for all files.
        many = {f"f{number}": bytes(8000) for number in range(100)}
        start = send(device, tar_image(many))
        assert found(device, start) == sums(many)
        data_confirmed(device, start)


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (spiffs_image(), 46, "SPIFFS; send a tar or a littlefs"),
        (fat_image(), 46, "FAT; send a tar"),
        (b"PK\x03\x04" + bytes(3000), 46, "a zip"),
        (b"\xe9" + bytes(3000), 46, "send a tar or a littlefs"),
        (b"<html>" * 300, 46, "send a tar or a littlefs"),
        (tar_image({"../boot.py": b"x"}), 47, "the name"),
        (tar_image()[:-10240], 47, ""),
        (images()["2.1-4096-python"][:-4096], 37, "cut off"),
        (tar_image({"large": bytes(2_000_000)}), 4, "the file system has room for"),
        (tar_image({"larger": bytes(3_000_000)}), 4, "the file system has room for"),
    ],
    ids=[
        "spiffs",
        "fat",
        "zip",
        "firmware",
        "html",
        "path",
        "cut",
        "cut littlefs",
        "large",
        "larger",
    ],
)
def test_what_is_no_good_is_refused_in_words(tmp_path, content, code, words):  # fmt: skip
    with device_with(tmp_path) as device:
        files, boots = device.files(), device.board.boots
        error = device.refuses(content, code, command=arduino.FILE_SYSTEM)
        assert words in str(error)
        start = device.said
        device.board.wait_for("is healthy", start=0)
        assert {n: c for n, c in device.files().items() if n.startswith("/data")} == {
            n: c for n, c in files.items() if n.startswith("/data")
        }
        assert device.board.boots == boots and device.record.trial == "-"
        start = send(device, tar_image())
        assert found(device, start) == sums(FILES)


def test_no_data_are_taken_in_a_trial_or_behind_a_closed_gate(tmp_path):
    waits = APP.replace(
        "    while not ota.healthy:", "    ota.auto_confirm = False\n    while True:"
    )
    with device_with(tmp_path) as device:
        start = device.said
        device.upload(device.next_image(waits))
        device.board.wait_for(f"app {device.sequence} runs", start=start)
        device.board.wait_for(
            "listens", start=device.line(f"app {device.sequence} runs", start) - 9
        )
        device.refuses(tar_image(), 34, command=arduino.FILE_SYSTEM)
    shut = APP.replace("    while not", "    ota.gate = lambda: False\n    while not")
    with device_with(tmp_path, shut) as device:
        device.refuses(tar_image(), 33, command=arduino.FILE_SYSTEM)
