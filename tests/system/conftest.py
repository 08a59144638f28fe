"""Fixtures of the system tests: the fleet of boards that several tests share."""

import os

import pytest
from fleet import Fleet

_fleet = pytest.StashKey[Fleet]()


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "parallel: run at the same time as the others of its module, see fleet.py"
    )


@pytest.fixture(scope="session", autouse=True)
def fleet(tmp_path_factory, request):
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), shared)
    request.session.stash[_fleet] = fleet
    yield fleet
    fleet.stop()


@pytest.fixture
def device(fleet, request):
    """Yield a board that is on, without a password."""
    if request.node.get_closest_marker("parallel"):
        yield None  # the fleet lends this test a board when the test runs
    else:
        with fleet.device() as device:
            yield device


def pytest_pyfunc_call(pyfuncitem):
    if pyfuncitem.get_closest_marker("parallel") is None:
        return None
    pyfuncitem.session.stash[_fleet].run(pyfuncitem)
    return True
