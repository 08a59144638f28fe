"""The one exception of an update, with the error numbers of the Arduino core's Updater."""


class OTAError(Exception):
    """An update that cannot go on: `code` is its number, `detail` what in particular.

    The numbers and their texts are in error_texts.py.
    """

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self):
        """Return it as the Arduino core prints it: `ERROR[4]: Not Enough Space`."""
        try:
            from .error_texts import text

            line = "ERROR[%d]: %s" % (self.code, text(self.code))
        except MemoryError:  # the number says it too
            return "ERROR[%d]" % self.code
        return "%s: %s" % (line, self.detail) if self.detail else line
