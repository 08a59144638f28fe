"""The power goes while an image comes in over the network."""

import pytest
from mpota.arduino.invitation import Invitation
from mpota.arduino.transfer import Transfer
from power_cut import count_operations, in_parallel
from upload_cut import UploadCut, run_upload_cut

_SAMPLE = 3


@pytest.mark.campaign
def test_a_power_cut_in_an_upload_leaves_a_whole_version(monkeypatch, campaign, record_property):
    for name in ("count_s", "quiet_s", "error_s", "result_s"):
        monkeypatch.setattr(Transfer, name, 3)
    monkeypatch.setattr(Invitation, "answer_s", 3)
    total = count_operations("update")
    cuts = campaign.sample("uploads", range(total), _SAMPLE)
    ran = in_parallel(run_upload_cut, [UploadCut(cut) for cut in cuts])
    record_property("power cuts in uploads", f"{len(ran)}/{len(cuts)} of {total} operations")
