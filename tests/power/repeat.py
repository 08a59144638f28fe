"""Repeat one case of the power tests, and show what the board said.

python tests/power/repeat.py update 83 --torn prefix --second 5
python tests/power/repeat.py --bug 'confirmed at boot'
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from power_cut import Case, run_case  # noqa: E402
from releases import CUT_SCENARIOS  # noqa: E402
from seeded_bugs import SEEDED_BUGS  # noqa: E402


def main() -> None:
    """Run what the command line names; the exit status is 1 when it fails."""
    parser = argparse.ArgumentParser(description="Repeat one case of the power tests.")
    parser.add_argument("scenario", nargs="?", choices=CUT_SCENARIOS)
    parser.add_argument("cut", nargs="?", type=int, help="cut the power before this operation")
    parser.add_argument("--torn", default="none", help="how that operation is torn")
    parser.add_argument("--second", type=int, help="cut again in the recovery")
    parser.add_argument("--bug", choices=[bug.name for bug in SEEDED_BUGS], help="a seeded bug")
    options = parser.parse_args()
    try:
        if options.bug:
            bug = next(bug for bug in SEEDED_BUGS if bug.name == options.bug)
            bug.check(bug.edits, 6)
            print("not noticed")
        elif options.scenario is None or options.cut is None:
            parser.error("name a scenario and an operation, or a bug")
        else:
            case = Case(options.scenario, options.cut, options.torn, options.second)
            print("\n".join(run_case(case)))
    except (AssertionError, TimeoutError) as e:
        sys.exit(str(e))


main()
