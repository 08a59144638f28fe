"""The power goes, or the board is reset, while an image comes in over the network."""

import pytest
from mpota.arduino.invitation import Invitation
from mpota.arduino.transfer import Transfer
from page_cut import PageCut, count_page_operations, run_page_cut
from power_cut import count_operations, in_parallel
from upload_cut import UploadCut, run_upload_cut

_SAMPLE = 3


@pytest.mark.campaign
@pytest.mark.parametrize("cuts", ["power cuts", "resets"])
@pytest.mark.parametrize("restarts", [False, True], ids=["beside the application", "alone"])
def test_a_power_cut_or_a_reset_in_an_upload_leaves_a_whole_version(
    monkeypatch, campaign, record_property, restarts, cuts
):
    for name in ("count_s", "quiet_s", "error_s", "result_s"):
        monkeypatch.setattr(Transfer, name, 3)
    for name in ("answer_s", "restart_s"):
        monkeypatch.setattr(Invitation, name, 3)
    total = count_operations("update")
    name = f"{cuts} in uploads" + " through the restart" * restarts
    chosen = campaign.sample(name, range(total), _SAMPLE)
    cases = [UploadCut(cut, restarts, cuts == "resets") for cut in chosen]
    ran = in_parallel(run_upload_cut, cases)
    record_property(name, f"{len(ran)}/{len(cases)} of {total} operations")


@pytest.mark.campaign
def test_a_power_cut_in_an_upload_by_the_page_leaves_a_whole_version(campaign, record_property):
    total = count_page_operations()
    cuts = campaign.sample("uploads by the page", range(total), _SAMPLE)
    ran = in_parallel(run_page_cut, [PageCut(cut) for cut in cuts])
    record_property("power cuts in uploads by the page", f"{len(ran)}/{len(cuts)} of {total}")
