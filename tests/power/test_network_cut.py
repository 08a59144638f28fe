"""The power goes while an image comes in over the network."""

import contextlib
import random
import threading

from mpota import espota
from mpota.errors import CommandError
from mpota.invitation import Invitation
from mpota.transfer import Transfer
from power_cut import Life, count_operations, in_parallel
from releases import NEW, SCENARIOS, release

_SAMPLE = 8


def _cut_in_upload(cut: int) -> None:
    with Life(SCENARIOS["update"]) as life:
        board = life.board()
        try:
            board.power_on()
            board.wait_for("listens on port")
            board.cut_power_after(cut)
            host = threading.Thread(target=_upload, args=(board.ip,))
            host.start()
            assert board.wait_for_power_cut(), f"operation {cut} never came"
            assert board.violation == ""
            host.join()
        finally:
            board.stop()
        life.recover(life.judge())


def _upload(ip: str) -> None:
    with contextlib.suppress(CommandError):  # the board is gone
        espota.upload(release(NEW), board_ip=ip)


def test_a_power_cut_in_an_upload_leaves_a_whole_version(monkeypatch, record_property):
    for name in ("count_s", "quiet_s", "error_s", "result_s"):
        monkeypatch.setattr(Transfer, name, 3)
    monkeypatch.setattr(Invitation, "answer_s", 3)
    cuts = random.Random("upload").sample(range(count_operations("update")), _SAMPLE)
    ran = in_parallel(_cut_in_upload, cuts)
    record_property("power cuts in uploads", f"{len(ran)}/{_SAMPLE}")
