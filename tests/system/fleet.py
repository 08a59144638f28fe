"""Boards that many tests share, one after the other, and several tests at a time.

Most of a bad upload's time is the board's waiting for the host to read its answer. So the tests of
a module that are marked `parallel` run at the same time, each on a board of its own, when the first
of them is due; each reports its own outcome. Of fixtures they get `device`, `tmp_path` and
`campaign`. Under pytest-xdist, its workers share the work.
"""

import contextlib
import inspect
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from campaigns import Campaign
from device import Device

BOARDS = 8
_PATIENCE_S = 300


class Fleet:
    """Boards in `folder`; `shared` is a folder that all workers of this test run have in common."""

    def __init__(self, folder: Path, shared: Path) -> None:
        self._folder, self._shared = folder, shared
        self._free: list[Device] = []
        self._made = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(BOARDS)
        self._modules: set[Path] = set()

    def stop(self) -> None:
        """Switch all boards off."""
        self._pool.shutdown(cancel_futures=True)
        for device in self._free:
            device.board.stop()

    @contextlib.contextmanager
    def device(self) -> Iterator[Device]:
        """Lend a board that is on, without a password; unless spoiled, it may be lent again."""
        with self._lock:
            device = self._free.pop() if self._free else None
            self._made += device is None
            folder = self._folder / str(self._made)
        if device is None:
            folder.mkdir()
            device = Device(folder).__enter__()
        try:
            yield device
        finally:
            # A board that waits takes as much processor time in two seconds as a new one to start.
            with self._lock:
                is_kept = not (device.spoiled or self._free)
                if is_kept:
                    self._free.append(device)
            if not is_kept:
                device.board.stop()

    def run(self, item: pytest.Function) -> None:
        """Run the test *item* together with those that are parallel to it; pass on its result."""
        if item.path not in self._modules:
            self._modules.add(item.path)
            for other in item.session.items:
                if other.path == item.path and other.get_closest_marker("parallel"):
                    self._pool.submit(self._run_unless_claimed, other)
        outcome = self._place_of(item) / "outcome"
        deadline = time.monotonic() + _PATIENCE_S
        # Another process may run the test. The file is the only sign that the test has ended.
        while not outcome.exists():
            assert time.monotonic() < deadline, "the test did not end in time"
            time.sleep(0.01)
        if trace := outcome.read_text():
            pytest.fail(trace, pytrace=False)

    def _place_of(self, item: pytest.Function) -> Path:
        return self._shared / f"case-{item.session.items.index(item)}"

    def _run_unless_claimed(self, item: pytest.Function) -> None:
        place = self._place_of(item)
        try:
            place.mkdir()
        except FileExistsError:  # another worker runs it
            return
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        wanted = inspect.signature(item.obj).parameters
        try:
            if "tmp_path" in wanted:
                parameters["tmp_path"] = place
            if "campaign" in wanted:
                parameters["campaign"] = Campaign.of(item.config)
            if "device" in wanted:
                with self.device() as device:
                    item.obj(device=device, **parameters)
            else:
                item.obj(**parameters)
            trace = ""
        except BaseException:  # run() passes the trace on to pytest
            trace = traceback.format_exc()
        (place / "writing").write_text(trace)
        (place / "writing").rename(place / "outcome")
