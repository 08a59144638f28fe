"""Fixtures for the tests of the host's tools."""

import pytest
from application import MAIN, TABLE
from mpota.arduino.invitation import Invitation
from mpota.arduino.transfer import Transfer


@pytest.fixture
def quick_resends(monkeypatch):
    """Let a lost invitation be sent again after milliseconds."""
    monkeypatch.setattr(Invitation, "resend_s", 0.05)
    monkeypatch.setattr(Invitation, "settle_s", 0.1)


@pytest.fixture
def quick_fallback(monkeypatch, quick_resends):
    """Let the classic handshake follow soon if the other one gets no answer."""
    monkeypatch.setattr(Invitation, "strong_answer_s", 0.15)


@pytest.fixture
def impatient(monkeypatch, quick_resends):
    """Give up waiting soon."""
    monkeypatch.setattr(Invitation, "strong_answer_s", 0.2)
    for name in ("answer_s", "connect_s", "restart_s"):
        monkeypatch.setattr(Invitation, name, 0.4)
    for name in ("count_s", "quiet_s", "error_s", "result_s"):
        monkeypatch.setattr(Transfer, name, 0.3)


@pytest.fixture
def quick_polls(monkeypatch):
    """Let the end of a trial be asked for every few milliseconds."""
    monkeypatch.setattr("mpota.arduino.trial._POLL_S", 0.01)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes files into an application's directory, and returns it."""

    def write_files(files):
        for name, content in files.items():
            path = tmp_path / "app" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "app"

    return write_files


@pytest.fixture
def garden(write):
    """Make the directory of a small application with its table."""
    return write({"app.py": MAIN, "pyproject.toml": TABLE})
