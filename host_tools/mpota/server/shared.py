"""A value that is looked up once for all requests that want it at about the same time."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """What *look*, which is called in a thread, has returned in the last *for_s* seconds."""

    def __init__(self, look: Callable[[], T], for_s: float) -> None:
        self._look = look
        self._for_s = for_s
        self._lock = asyncio.Lock()
        self._kept: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return the value. Raises what *look* raises."""
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] >= self._for_s:
                value = await asyncio.to_thread(self._look)
                self._kept = time.monotonic(), value
            return self._kept[1]
