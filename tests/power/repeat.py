"""Repeat one case of the power tests, and show what the board said.

python tests/power/repeat.py update 23 --torn prefix --second 5
python tests/power/repeat.py --never-runs stranger --cut 3
python tests/power/repeat.py --upload 23 --restart --reset
python tests/power/repeat.py --page 23
python tests/power/repeat.py --data 'tied, taken back' --cut 23 --torn prefix --second 5
python tests/power/repeat.py --heap 40 --start boot
python tests/power/repeat.py --bug 'confirmed at boot'
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from base_flash import StaleEditError  # noqa: E402
from data_cut import SCENARIOS as DATA_SCENARIOS  # noqa: E402
from data_cut import DataCut, run_data_cut  # noqa: E402
from low_memory import STARTS, LowMemory, run_low_memory  # noqa: E402
from page_cut import PageCut, run_page_cut  # noqa: E402
from power_cut import TEARS, Case, run_case  # noqa: E402
from refused import REFUSALS, REJECTIONS, NeverRuns, run_never_runs  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from seeded_bugs import SEEDED_BUGS  # noqa: E402
from upload_cut import UploadCut, run_upload_cut  # noqa: E402

_PATIENCE_S = 6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Repeat one case of the power tests.")
    parser.add_argument("scenario", nargs="?", choices=SCENARIOS)
    parser.add_argument("operation", nargs="?", type=int, help="cut the power before this one")
    parser.add_argument("--torn", default="none", choices=TEARS, help="tear that operation")
    parser.add_argument("--second", type=int, help="cut again in the recovery")
    kinds = [*REFUSALS, *REJECTIONS]
    parser.add_argument("--never-runs", choices=kinds, help="a version that must not run")
    parser.add_argument("--data", choices=DATA_SCENARIOS, help="an update of /data")
    parser.add_argument(
        "--cut", type=int, help="with --never-runs or --data: cut before this operation"
    )
    parser.add_argument("--upload", type=int, metavar="CUT", help="cut in an upload")
    parser.add_argument("--restart", action="store_true", help="in one through the restart")
    parser.add_argument("--reset", action="store_true", help="a reset in place of the power cut")
    parser.add_argument("--page", type=int, metavar="CUT", help="cut in an upload by the page")
    parser.add_argument("--heap", type=int, metavar="KB", help="an update with so much memory")
    parser.add_argument("--start", choices=STARTS, default=STARTS[0], help="when there is so much")
    names = [bug.name for bug in SEEDED_BUGS]
    parser.add_argument("--bug", metavar="NAME", choices=names, help="a seeded bug")
    return parser


def _run(options: argparse.Namespace) -> list[str]:
    if options.never_runs is not None:
        return run_never_runs(NeverRuns(options.never_runs, options.cut, options.torn))
    if options.data is not None:
        return run_data_cut(DataCut(options.data, options.cut, options.torn, options.second))
    if options.upload is not None:
        return run_upload_cut(UploadCut(options.upload, options.restart, options.reset))
    if options.page is not None:
        return run_page_cut(PageCut(options.page))
    if options.heap is not None:
        return run_low_memory(LowMemory(options.heap, options.start))
    return run_case(Case(options.scenario, options.operation, options.torn, options.second))


def _repeat_bug(name: str) -> None:
    bug = next(bug for bug in SEEDED_BUGS if bug.name == name)
    failure = bug.caught_by(_PATIENCE_S)
    if failure is None:
        sys.exit(f"{name}: not caught")
    print(f"{name}: caught\n{failure}")


def main() -> None:
    """Run the case that the command line names; the exit status is 1 when it fails."""
    parser = _parser()
    options = parser.parse_args()
    named = (
        options.bug,
        options.upload,
        options.data,
        options.page,
        options.heap,
        options.never_runs,
        options.operation,
    )
    if sum(x is not None for x in named) != 1:
        parser.error("name one case: a scenario and an operation, or one of the options")
    try:
        if options.bug:
            _repeat_bug(options.bug)
        else:
            print("\n".join(_run(options)))
    except (AssertionError, TimeoutError, StaleEditError) as e:
        sys.exit(str(e))


main()
