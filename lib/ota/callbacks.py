"""Functions that an application registers, to be called in the course of an update."""


class Callbacks:
    """Each `on_…` is a decorator and a plain call, and takes the place of what was there before.

    `OTA` and every service are Callbacks. The Updater calls them, OTA's first.
    """

    start_callback = end_callback = progress_callback = error_callback = None

    def on_start(self, function):
        """Call `function()` before an update's first byte is written: make the equipment safe.

        If it raises, the update is refused, and the uploader is told.
        """
        self.start_callback = function
        return function

    def on_end(self, function):
        """Call `function()` when an update is verified and staged, before the reset."""
        self.end_callback = function
        return function

    def on_progress(self, function):
        """Call `function(done_bytes, total_bytes)` as an update arrives."""
        self.progress_callback = function
        return function

    def on_error(self, function):
        """Call `function(code)` when an update ended badly; *code* is the service's own number."""
        self.error_callback = function
        return function
