"""docs/FIRST-STEPS.md: every text in it is one that the tool or the board prints."""

import ast
import re
from pathlib import Path

import pytest
from mpota.arduino.invitation import _CLASSIC_BOARD
from mpota.arduino.outcomes import RefusedError
from mpota.arduino.trial import Ending
from mpota.cli.delivery import _judged

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "FIRST-STEPS.md"
LEAST_LETTERS = 7


def shown_lines():
    """Return the lines of the fenced blocks, without commands and settings."""
    blocks = re.findall(r"^```\n(.*?)^```", DOC.read_text(), re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [
        re.sub(r"^(error: |\| |\d\d:\d\d:\d\d\.\d{3}  )", "", line)
        for line in lines
        if not line.startswith("$ ") and not re.match(r"\w+ = ", line)
    ]


def said_by(folder):
    """Return patterns of the texts in the sources of *folder*: a value may be anything."""
    nodes = [
        node
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    ]
    patterns = {pattern(node) for node in nodes} - {None}
    # Not those with so few letters that they fit everything.
    return {p for p in patterns if len(re.sub(r"\W", "", p)) > LEAST_LETTERS}


def pattern(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = re.escape(node.value)
        # What the board's log puts in by %.
        return re.sub(r"%(?:\\\.\d+)?[sdrx]", ".+", text)
    if isinstance(node, ast.JoinedStr):
        parts = [".+" if isinstance(v, ast.FormattedValue) else re.escape(v.value)
                 for v in node.values]  # fmt: skip
        return "".join(parts)
    return None


@pytest.fixture(scope="module")
def patterns():
    folders = ("cli", "board", "arduino")
    tool = set().union(*(said_by(f"host_tools/mpota/{folder}") for folder in folders))
    board = {rf"\[ota\] [IE]: {p}" for p in said_by("lib/ota")}
    return [re.compile(p) for p in tool | board]


def test_there_is_something_to_check():
    assert len(shown_lines()) > 25


@pytest.mark.parametrize("line", shown_lines())
def test_the_text_is_one_that_is_printed(line, patterns):
    line = line.removesuffix(f"; or {_CLASSIC_BOARD}")  # follows the advice for other boards
    if refusal := re.fullmatch(r".*\(the board said: (ERROR\[\d+\]: .*)\)", line):
        assert str(RefusedError(refusal[1])) == line
    elif back := re.fullmatch(r"(\S+ \S+): taken back: (.*); (\S+ \S+) runs again: .*", line):
        assert line == said_of_trial(back[1], Ending("taken back", back[2], back[3]))
    elif open_ := re.fullmatch(r"(\S+ \S+): not decided within 180 s: (.* at most): .*", line):
        assert line == said_of_trial(open_[1], Ending("undecided", open_[2]))
    else:
        assert any(p.fullmatch(line) for p in patterns), line


def said_of_trial(release, ending):
    """Return what `mpota upload` says at the end of a trial."""
    result = _judged("192.168.1.77", ending, 180)
    return f"{release}: {result.line}{result.remedy}"
