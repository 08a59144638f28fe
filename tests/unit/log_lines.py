"""What the services log, for the tests on the board."""

from ota import log


class LogLines:
    """Collect the lines that are logged while the context is entered, in `lines`."""

    def __enter__(self):
        self.lines = []
        self._real = log.error, log.info
        log.error = log.info = lambda text, *args: self.lines.append(text % args)
        return self

    def __exit__(self, *_):
        log.error, log.info = self._real
