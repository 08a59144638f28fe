"""What an update and a boot on trial do to the flash: printed, and bounded.

The budgets are those of bench/budgets.py.
"""

import budgets
import measure


def test_an_update_programs_little_more_than_its_size_and_takes_its_flash_time(
    tmp_path, record_property
):
    flash = measure.flash(tmp_path)
    of_old = flash.ms_per_100_kb / budgets.OLD_FLASH_MS_PER_100_KB
    record_property("flash bytes programmed per image byte", f"{flash.programmed_per_byte:.3f}")
    record_property("flash time of 100 KB", f"{flash.ms_per_100_kb:.0f} ms, {of_old:.2f} of before")
    assert flash.programmed_per_byte <= budgets.PROGRAMMED_PER_BYTE * budgets.TOLERANCE
    assert of_old <= budgets.FLASH_TIME * budgets.TOLERANCE


def test_a_boot_on_trial_reads_its_slot_once_and_writes_two_records(tmp_path, record_property):
    trial = measure.trial_boot(tmp_path)
    record_property("boot on trial, of the image read", f"{trial.reads:.2f}")
    record_property("boot on trial, written", f"{trial.programmed} bytes, {trial.erases} erases")
    assert trial.records <= budgets.TRIAL_RECORDS
    # 0.5 is for what littlefs reads of its own data to write the records.
    assert trial.reads <= budgets.TRIAL_READS + 0.5
