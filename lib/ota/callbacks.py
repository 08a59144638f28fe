"""The callbacks that an application registers. RAM: the class, about 250 bytes."""


class Callbacks:
    """Each `on_…` is a decorator and a plain call, and takes the place of what was there before.

    `OTA` and every service are Callbacks. The Updater calls them, those of `OTA` first.
    """

    start_callback = end_callback = progress_callback = error_callback = None

    def on_start(self, function):
        """Call `function()` before the first byte of an update is written: make equipment safe.

        If it raises, the update is refused, and the uploader is told.
        """
        self.start_callback = function
        return function

    def on_end(self, function):
        """Call `function()` when an update is verified and accepted, before the reset."""
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
