"""The board asks a server for updates, at an interval or when the application wishes, in the manner
of Arduino's ESPhttpUpdate. Protocol: docs/SPEC.md.

plan.py decides when to ask next, session.py asks; they are loaded while they work. RAM: about 1 KB.
"""

from micropython import const
from utime import sleep_ms, ticks_add, ticks_diff, ticks_ms

from .. import Callbacks, check_room, log

# The size of the block for reading flash, for the request, and for the head of the reply. Each
# header that is used must fit into it; the address of a redirect has 1 KB at times.
_BLOCK_BYTES = const(1280)

_AGAIN_S = const(30)

# With less heap than this a question mostly fails, since the heap is in pieces; it uses 1600 at its
# peak. In words, as in restart.py.
_QUESTION_WORDS = const(2150)

_PULL = const(3)  # restart.PULL


class HTTPUpdate(Callbacks):
    """Asks servers for the application *ota*: see `update` and `check`.

    Of ota.settings: `ddi_url`, which is asked as hawkBit wants it (docs/HAWKBIT.md) and goes before
    `update_url`; `update_interval_s` (3600), `update_redirects` ("none"), `update_user`,
    `update_password`, `reboot_on_success` (true), `step_ms` (25). `on_error` is told
    the number that is `last_error` then: this service's own at every failure, that of `ota` when an
    update had begun.
    """

    # Results, as Arduino's HTTP_UPDATE_…
    FAILED = 0
    NO_UPDATES = 1
    OK = 2

    # The question that is going on, a session.Session.
    session = None
    # The number of the last error, and its text: numbers below -99 are wrong replies of the server,
    # other negative ones failures of the connection, positive ones errors of the Updater.
    last_error = 0
    last_error_text = ""
    result = None  # of what was asked last
    version = ""  # that `available_version` found

    # Options, for the application to set.
    reboot_on_update = None  # None: as the setting `reboot_on_success` says
    redirects = None  # "none", "strict" or "force"; None: as the setting `update_redirects` says
    user = password = None  # None: as the settings say
    authorization = None  # of user and password in Base64, in their place
    md5 = None  # of the image, 32 hex digits; it goes before the server's
    timeout_ms = 8000  # of silence
    led_pin = None  # a pin that is at `led_on` while a piece is written
    led_on = 0
    headers = ()  # further lines of the request, as "x-place: cellar"
    close_connections = None  # called when an update has begun: sockets belong to the application
    url = None  # where `check` asks; None: the setting `ddi_url`, or `update_url`

    # The host's name that was looked up last, and its address: kept, since a look-up blocks.
    address = (None, None)
    failures = 0  # in a row
    deadline = None  # when to ask next, in ota.uptime_s; None: not by itself
    last = 0  # when the last question ended, in the same
    # Of hawkBit: how often it wants to be asked, and what tells its last answer from others, where
    # that left nothing to do.
    interval_s = validator = None

    def __init__(self, ota):
        self.ota = ota
        ota.services = list(ota.services) + [self]
        from .plan import plan_first

        plan_first(self)

    def update(self, url, version=None):
        """Install the release that the server at *url* has; return OK, NO_UPDATES or FAILED.

        *version* is what the board says it runs, text. Unless `reboot_on_update` is false, the
        board restarts after success.
        """
        return self._ask(url, version, "sketch")

    def update_fs(self, url, version=None):
        """Do what `update` does, for a data image."""
        return self._ask(url, version, "spiffs")

    def available_version(self, url):
        """Return the version that the server at *url* has, text; "" if it does not say."""
        self.version = ""
        self._ask(url, None, "version")
        return self.version

    def check(self, url=None):
        """Ask the server, at *url* if it is given, in the background: `ota.handle()` does it.

        At *url* it is asked as in `update`, from then on.

        Return whether it will, once there is a network: not in a trial, nor while updates are not
        allowed. What is found is installed. `is_checking` says when it is over.
        """
        ota = self.ota
        ota.begin()
        self.url = url or self.url
        if ota.trial or not (self.url or self.own_url):
            return False
        if not ota.allows_updates():
            return False
        self.deadline = ota.uptime_s
        return True

    @property
    def own_url(self):
        """The address that the board asks by itself; None or "" where there is none."""
        get = self.ota.settings.get
        return get("ddi_url") or get("update_url")

    @property
    def is_checking(self):
        """Whether the board is asking, or is about to when there is a network."""
        return self.session is not None or (
            self.deadline is not None and self.ota.uptime_s >= self.deadline
        )

    @property
    def last_check(self):
        """How the last question ended, in words; "" if none was asked in this boot."""
        if self.result is None:
            return ""
        text = self.last_error_text or (
            "no update" if self.result == self.NO_UPDATES else "updated"
        )
        return "%d s ago: %s" % (self.ota.uptime_s - self.last, text)

    def handle(self):
        """Do what can be done now, for `step_ms` or one chunk; return whether the board asks."""
        ota = self.ota
        if self.session is None:
            if ota.is_alone:  # asks once, if the application was left out for this
                if not ota.kept or ota.kept[0] != _PULL:
                    return False
                ota.kept = None
            elif not self.is_checking or ota.trial or ota.is_updating:
                return False
            elif not ota.allows_updates():
                self.deadline = ota.uptime_s + 1
                return False
            self.deadline = ota.uptime_s + _AGAIN_S  # if there is no memory to begin
            import gc  # here, since names of this module take heap all the time

            from ustruct import calcsize

            gc.collect()
            is_full = gc.mem_free() < _QUESTION_WORDS * calcsize("P")
            if is_full and not self.url and not ota.is_alone:
                # A question would leave modules in memory that were loaded in part.
                check_room()
                from .failure import too_full

                too_full(self)
            else:
                self._begin(self.url or self.own_url, None, "sketch", True)
        end = ticks_add(ticks_ms(), ota.settings.get("step_ms", 25))
        while self.session and self.session.step() and ticks_diff(end, ticks_ms()) > 0:
            pass
        return self.session is not None

    def finish(self, result, error=0, text="", wait_s=0):
        """Note how the question ended, for the session; the server wants no other for *wait_s*."""
        self.session = None
        self.result = result
        self.last_error = error
        self.last_error_text = text
        self.last = self.ota.uptime_s
        if result == self.FAILED:
            self.failures += 1
            self.address = (None, None)  # the server may have another address now
            log.error("pull: %s", text)
        else:
            self.failures = 0
            log.info("pull: no update" if result == self.NO_UPDATES else "pull: updated")
        self.ota.unload()  # first, since plan.py needs memory as well
        from .plan import plan

        plan(self, wait_s)
        self.ota.unload()

    def new_block(self):
        """Return the block of memory that a question needs in one piece: a Session's *block*."""
        return bytearray(_BLOCK_BYTES)

    def _ask(self, url, version, mode):
        ota = self.ota
        ota.begin()
        if self.session:
            self.session.close()
        self._begin(url, version, mode, False)
        was_handling, ota.is_handling = ota.is_handling, True
        try:
            while self.session:
                if not self.session.step():
                    sleep_ms(1)
                if ota.watchdog:
                    ota.watchdog.feed()
        finally:
            ota.is_handling = was_handling
        return self.result

    def _begin(self, url, version, mode, is_check):
        block = self.new_block()  # before what is loaded, which finds room in smaller pieces
        check_room()
        from .session import Session

        is_ddi = is_check and not self.url and bool(self.ota.settings.get("ddi_url"))
        self.session = Session(self, block, url, version, mode, is_check, is_ddi)
