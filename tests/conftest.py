"""For all tests: campaigns, and figures that a test puts on record.

A campaign is a test that runs many cases. Without the option `--campaigns` it runs a sample of
them, drawn anew each time; the seed is in the report's head.
"""

import os
import random

import pytest
from campaigns import Campaign

_SEEDS = 1_000_000


def pytest_addoption(parser):
    group = parser.getgroup("campaigns")
    group.addoption("--campaigns", action="store_true", help="run campaigns whole, not sampled")
    group.addoption("--seed", type=int, help="of the samples; a random one unless it is given")


def pytest_configure(config):
    # Tests keep nothing in the user's cache; a test of the cache sets a folder of its own.
    os.environ["XDG_CACHE_HOME"] = "/dev/null"
    config.addinivalue_line("markers", "campaign: a test that samples its cases, or runs them all")
    config.addinivalue_line("markers", "long: takes half a minute, and so is begun before others")
    # Workers get the options of the process that starts them, so all have the same seed.
    if config.option.seed is None:
        config.option.seed = random.randrange(_SEEDS)


def pytest_collection_modifyitems(items):
    # Otherwise one worker would be busy with them when all others have nothing more to do.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_report_header(config):
    if config.option.campaigns:
        return "campaigns: whole"
    return f"campaigns: sampled, --seed {config.option.seed}"


@pytest.fixture(scope="session")
def campaign(request):
    """Return the Campaign that says which cases to run."""
    return Campaign.of(request.config)


def pytest_terminal_summary(terminalreporter):
    figures = [
        f"{name}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        for figure in figures:
            terminalreporter.write_line(figure)
