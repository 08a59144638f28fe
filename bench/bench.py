"""Measure mpota on simulated boards: `make bench`. Ratios come first: they hold on any computer.

Every figure comes from this run. The budgets are in budgets.py.
"""

import sys
import tempfile
from pathlib import Path

import budgets
import measure
import measure_gzip
import measure_page
import measure_pull
import measure_strangers
from rich.console import Console
from rich.table import Table

ROUNDS = 9


def main() -> int:
    console = Console()
    table = Table("what", "figure", "budget", title="mpota on the simulated board")
    with tempfile.TemporaryDirectory() as name, console.status("measuring …"):
        _measure(Path(name), table)
    console.print(table)
    return 0


def _measure(folder: Path, table: Table) -> None:
    ours, theirs = measure.throughput(folder, ROUNDS)
    flash = measure.flash(folder)
    flash_s = flash.ms_per_100_kb / 1000
    ours_s, theirs_s = (100 * 1024 / rate + flash_s for rate in (ours, theirs))
    table.add_row("upload, of the speed of a loop that receives, counts and writes",
                  f"{ours / theirs:.0%}", f"≥ {budgets.THROUGHPUT:.0%}")  # fmt: skip
    table.add_row("the same, with the time that the flash takes by its data sheet",
                  f"{theirs_s / ours_s:.1%}", "")  # fmt: skip
    table.add_row("flash bytes programmed per byte of the image",
                  f"{flash.programmed_per_byte:.3f}",
                  f"≤ {budgets.PROGRAMMED_PER_BYTE}")  # fmt: skip
    of_old = flash.ms_per_100_kb / budgets.OLD_FLASH_MS_PER_100_KB
    table.add_row("flash time of an update, of that of 2026-11-25",
                  f"{of_old:.2f}", f"≤ {budgets.FLASH_TIME}")  # fmt: skip
    trial = measure.trial_boot(folder)
    table.add_row("boot on trial: flash read beyond an ordinary one, of the image",
                  f"{trial.reads:.2f}", f"{budgets.TRIAL_READS} and the records")  # fmt: skip
    table.add_row("boot on trial until confirmed: records written",
                  f"{trial.records}", f"≤ {budgets.TRIAL_RECORDS}")  # fmt: skip
    plain, on_trial = measure.boot_times(folder, ROUNDS)
    table.add_row("time of a boot on trial, of an ordinary one", f"{on_trial / plain:.1f}", "")
    table.add_section()
    _add_heap(folder, table)
    table.add_section()
    _add_pull(folder, table)
    table.add_section()
    _add_gzip(folder, table)
    table.add_section()
    _add_page(folder, table)
    table.add_section()
    for bits in (2048, 4096):
        check = measure.verification(folder, bits)
        table.add_row(f"verifying a signature of {bits} bits, of hashing 100 KB",
                      f"{check.check_us / check.hash_us:.1f}", "")  # fmt: skip
        table.add_row("the same, ms here", f"{check.check_us / 1000:.1f}", "")
        table.add_row("heap that it needs", _kb(check.heap_bytes), "")
    table.add_section()
    table.add_row("upload", f"{ours / 1024:.0f} KB/s", "")
    table.add_row("flash time of an update, by the data sheet",
                  f"{flash.ms_per_100_kb:.0f} ms per 100 KB", "")  # fmt: skip
    table.add_row("boot on trial: flash written beyond an ordinary one",
                  f"{trial.programmed} bytes, {trial.erases} erases", "")  # fmt: skip
    table.add_row("boot, power-on to application", f"{plain * 1000:.0f} ms", "")
    table.add_row("boot on trial", f"{on_trial * 1000:.0f} ms", "")


def _add_heap(folder: Path, table: Table) -> None:
    for number, (what, (arguments, budget)) in enumerate(budgets.UPLOADS.items()):
        heap = measure.heap(folder, **arguments)
        if number == 0:
            table.add_row("heap, scaled to the chip: idle, listener on",
                          _kb(heap.idle), f"≤ {budgets.IDLE_KB} KB")  # fmt: skip
        table.add_row(f"peak over idle, {what}", _kb(heap.peak), f"≤ {budget} KB")
    table.add_row("mDNS, idle", _kb(measure.mdns_heap(folder)), f"≤ {budgets.MDNS_KB} KB")
    boots = measure.boot_heap(folder)
    table.add_row("a boot on trial, beyond a cold boot", _kb(boots.on_trial),
                  f"≤ {budgets.TRIAL_KB} KB")  # fmt: skip
    table.add_row("the boot after its confirmation, beyond a cold one", _kb(boots.after),
                  f"≤ {budgets.LEFT_KB} KB")  # fmt: skip
    strangers = measure_strangers.strangers(folder)
    table.add_row("a talk with a stranger", _kb(strangers.talk), f"≤ {budgets.STRANGER_KB} KB")
    table.add_row(f"what {measure_strangers.DATAGRAMS} datagrams of strangers leave",
                  _kb(strangers.kept), f"≤ {budgets.LEFT_KB} KB")  # fmt: skip


def _add_pull(folder: Path, table: Table) -> None:
    ours_s, theirs_s = measure_pull.seconds(folder, ROUNDS)
    table.add_row("pull, of the speed of a loop that receives and writes, flash time included",
                  f"{theirs_s / ours_s:.1%}", f"≥ {budgets.THROUGHPUT:.0%}")  # fmt: skip
    pull = measure_pull.heap(folder)
    upload = measure.heap(folder, auth="classic")
    table.add_row("peak over idle, pull, beyond that of an upload with an MD5",
                  _kb(pull.peak - upload.peak), f"≤ {budgets.PULL_OVER_UPLOAD_KB} KB")  # fmt: skip
    table.add_row("peak over idle, a question to a server", _kb(pull.question),
                  f"≤ {budgets.QUESTION_KB} KB")  # fmt: skip
    sent, received = measure_pull.bytes_per_idle_poll(folder)
    table.add_row("bytes that a board sends, and gets, for a question without an update",
                  f"{sent}, {received}", "")  # fmt: skip


def _add_page(folder: Path, table: Table) -> None:
    by_page, by_listener = measure_page.throughput(folder, ROUNDS)
    table.add_row("upload by the page, of the speed of one to the listener of the same board",
                  f"{by_page / by_listener:.1f}", f"≥ {budgets.PAGE_THROUGHPUT}")  # fmt: skip
    heap = measure_page.heap(folder)
    table.add_row("heap, scaled: the page when idle",
                  _kb(heap.idle), f"≤ {budgets.PAGE_IDLE_KB} KB")  # fmt: skip
    table.add_row("each connection to it",
                  _kb(heap.connection), f"≤ {budgets.PAGE_CONNECTION_KB} KB")  # fmt: skip
    table.add_row("peak over idle, page and status are shown", _kb(heap.look), "")
    table.add_row("peak over idle, an upload by the page", _kb(heap.peak), "")
    table.add_row("the page, as it is sent",
                  f"{measure_page.page_bytes()} bytes", f"≤ {budgets.PAGE_BYTES}")  # fmt: skip


def _add_gzip(folder: Path, table: Table) -> None:
    ways = measure_gzip.ways(folder)
    plain, foreign, ours = ways["plain"], ways["gzip"], ways["ours"]
    for what, way in (("gzip -9", foreign), ("mpota pack --gzip", ours)):
        table.add_row(f"{what}: bytes on the air, of the image's",
                      f"{way.sent_bytes / plain.sent_bytes:.0%}", "")  # fmt: skip
        table.add_row("speed of unpacking, of that of gathering pages",
                      f"{way.bytes_per_s / plain.bytes_per_s:.1%}", "")  # fmt: skip
        # Not scaled: it is buffers mostly, which are as large on the chip.
        table.add_row("heap for it, on 64 bits", f"{way.heap_bytes / 1024:.1f} KB", "")
    table.add_row("the chip's decoder, times as fast as ours",
                  f"{ours.bytes_per_s / foreign.bytes_per_s:.0f}", "≥ 3")  # fmt: skip
    whole, packed, changed = measure_gzip.one_line_changed(folder)
    table.add_row("examples/logger, one line changed: bytes of image, gzip, delta",
                  f"{whole}, {packed}, {changed}", "")  # fmt: skip


def _kb(bytes_here: int) -> str:
    return f"{bytes_here * budgets.SCALE / 1024:.1f} KB"


if __name__ == "__main__":
    sys.exit(main())
