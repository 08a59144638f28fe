"""What a worker does beside answering: it reads a changed plan, writes batches, and ticks."""

import asyncio
import contextlib
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from mpota.server import rollouts
from mpota.server.database import Database
from mpota.server.options import Options
from mpota.server.reception import Reception

_log = logging.getLogger("mpota.worker")


class Worker:
    """The work that goes on from the start of a worker to its end.

    `is_ready` is whether the database answered the last time; `ending` is set when the worker ends.
    """

    def __init__(self, database: Database, reception: Reception, options: Options) -> None:
        self._database = database
        self._reception = reception
        self._options = options
        self._flushed = 0.0
        # A thread of its own: the others may all be taken by requests, of strangers too.
        self._thread = ThreadPoolExecutor(1, "worker")
        self.is_ready = False
        self.ending = asyncio.Event()

    async def run(self) -> None:
        """Work until `ending` is set."""
        while True:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._turn)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ending.wait(), self._options.tick_s)
                return

    def finish(self) -> None:
        """Write down what has not been written yet, when `run` has ended."""
        self._thread.shutdown()
        with contextlib.suppress(Exception):
            self._reception.flush()

    def _turn(self) -> None:
        try:
            for line in rollouts.tick(self._database, self._options.tick_s):
                _log.warning("%s", line)
            self._reception.refresh()
            if time.monotonic() - self._flushed >= self._options.flush_s:
                self._reception.flush()
                self._flushed = time.monotonic()
            if not self.is_ready:
                _log.info("the database answers")
            self.is_ready = True
        except Exception as error:  # while the database is gone, boards are answered from memory
            if self.is_ready:
                _log.error("the database does not answer: %s", error)
            self.is_ready = False
