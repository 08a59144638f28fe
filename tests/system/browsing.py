"""A browser that has an application's own page open."""

import contextlib
import http.client
import threading
import time


class Browser:
    """Loads the page of a board again and again, and counts the answers."""

    def __init__(self, ip: str, port: int) -> None:
        self._address = (ip, port)
        self.pages = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._browse)

    def __enter__(self) -> "Browser":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def wait_for_pages(self, count: int) -> None:
        """Wait until *count* more pages have come."""
        wanted = self.pages + count
        while self.pages < wanted:
            time.sleep(0.01)

    def _browse(self) -> None:
        while not self._is_over.wait(0.05):
            for path in ("/", "/samples.csv"):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    connection = http.client.HTTPConnection(*self._address, timeout=5)
                    connection.request("GET", path)
                    reply = connection.getresponse()
                    self.pages += reply.status == 200 and len(reply.read()) > 10
                    connection.close()
