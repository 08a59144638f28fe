"""One question to a server, from the request to the end of the update that it may bring; loaded
while the board asks.

headers.py composes the request, request.py sends it, body.py reads what the reply has, download.py
installs the image, failure.py tells of errors. They are loaded one after the other, since a
question must need little heap. RAM: about 1 KB while loaded.
"""

import sys

from micropython import const

from .. import log
from ..clock import after, is_past
from ..errors import OTAError

_OVER = const(
    "ota.pull.download ota.pull.body ota.pull.headers ota.pull.request ota.http "
    "ota.updater.signature ota.updater.verify ota.updater ota.record ota.slots ota.hal"
)

_WAIT_MS = const(2)
# The longest time of a question, in multiples of the service's `timeout_ms`.
_GRACE = const(8)

_NOT_MODIFIED = const(304)

_STREAM_TIMEOUT = const(6)
_ON_TRIAL = const(34)
_LOST = const(-5)
_TIMEOUT = const(-11)


class Session:
    """A question to *url* for *mode*, "sketch", "spiffs" or "version"; *service* is an HTTPUpdate.

    With *is_ddi*, *url* is the tenant's address of a hawkBit, which says where the file is.

    *block* is what `new_block` of *service* gave, and this is its only owner. *version* is what the
    board says it runs. With *is_check* the board asks by itself: it says the version of its
    MANIFEST, and what it cannot take calls no `on_start`.
    """

    # How it is asked, and what follows the headers: a body, too.
    method = "GET"
    tail = b"\r\n"
    token = None  # what proves who asks, a header; None: as the service has it
    # The connection and until when something must come, in ticks.
    tcp = poll = deadline = None
    # What headers.py finds out: the sequences of releases that are not to be fetched, which run, or
    # were taken back, or wait for a restart; the slot that is idle; what is kept of the download, a
    # resume.Place.
    known = ()
    slot = "a"
    place = None
    # The reply, as request.py finds it: its status; the first byte of the file that it has, -1
    # where that is not what was asked for; the size of the whole and what is still to come, None
    # where it is not known; whether it comes in chunks; the file's MD5, and what tells it from
    # others, where the server says so; its SHA-256, where that was told before; what of the body
    # has come with the head; how long the server wants no other question.
    status = start = wait_s = 0
    size = left = None
    is_chunked = False
    md5 = validator = sha256 = ""
    rest = b""
    updater = None  # of the update that has begun, or is to begin
    is_news = False  # whether the server has something that the board does not have
    sequence = 0  # of the release that the server has, as soon as it is known
    # Of hawkBit's deployment: its number, and what tells it from others with that number.
    action = None
    key = ""

    def __init__(self, service, block, url, version, mode, is_check, is_ddi):
        self.service = service
        self.block = block
        self.url = self.address = url  # the server's, and where its file is
        self.version = version
        self.mode = mode
        self.is_check = is_check
        self.is_ddi = is_ddi
        self.end = after(_GRACE * service.timeout_ms)
        self._is_closed = False
        self.steps = self._run()

    def step(self):
        """Do one piece of work; return False when there is nothing to do but wait."""
        try:
            goes_on = next(self.steps)
            if not self._is_closed:
                return goes_on
        except StopIteration:
            pass
        except Exception as e:
            sys.print_exception(e)
        self.close()
        return False

    def close(self):
        """End the session; an update that is going on is broken off."""
        self._is_closed = True
        try:
            self.steps.close()
        except ValueError:
            return  # called by a callback of this update: `step` closes it afterwards
        if self.service.session is self:
            self.service.finish(self.service.FAILED, _LOST, "broken off")

    def listen(self):
        """Start the time again within which something must come."""
        self.deadline = after(self.service.timeout_ms)

    def waiting(self):
        """Wait a moment for the connection; a generator. Raises OTAError -11 after too long."""
        is_ready = False
        for _ in self.poll.ipoll(_WAIT_MS):
            is_ready = True
        if is_past(self.deadline) or is_past(self.end):
            raise OTAError(_TIMEOUT)
        yield is_ready

    def close_tcp(self):
        """Close the connection, if there is one."""
        if self.tcp:
            self.tcp.close()
            self.tcp = None

    def unload(self):
        """Unload the modules of the previous stage: the next one needs their memory."""
        ota = self.service.ota
        if not ota.is_updating:
            ota.unload(*_OVER.split())

    def asking(self, start):
        """Ask for the file from its byte *start* on, or from where it was broken off (None).

        A generator; see request.py for what it leaves in the session.
        """
        if self.block is None:  # it was given up for an update, which has broken off
            self.block = self.service.new_block()
        unload = self.service.ota.unload
        url = self.address
        redirects = 0
        while url:
            from .headers import composing

            start, shared, end = yield from composing(self, start)
            composing = None
            unload("ota.pull.headers")
            if self.updater is None:
                unload("ota.record", "ota.slots", "ota.hal")
            from .request import asking

            url = yield from asking(self, url, start, shared, end, redirects)
            asking = None
            unload("ota.pull.request", "ota.http")
            redirects += 1

    def _call(self, name, *args):
        # Lets a function of ddi do its part; a generator.
        from .. import ddi

        try:
            return (yield from getattr(ddi, name)(self, *args))
        finally:
            ddi = None
            self.service.ota.unload("ota.ddi")

    def _run(self):
        service = self.service
        result = service.FAILED
        code = 0
        text = ""
        try:
            if service.ota.trial and self.mode != "version":
                raise OTAError(_ON_TRIAL)
            is_wanted = not self.is_ddi or (yield from self._call("asking"))
            if is_wanted:
                yield from self.asking(None)
                if self.start < 0:  # the server has not the rest of that file: it is asked for all
                    self.close_tcp()
                    yield from self.asking(0)
                self.sequence = self.place.sequence if self.place else 0  # if nothing has changed
            result = service.NO_UPDATES
            if is_wanted and self.status != _NOT_MODIFIED and self.mode != "version":
                # Where the heap is too full even to look at it, the services alone do. They keep
                # the validator of what they find, so that they are not asked for that again.
                self.is_news = bool(self.validator)
                self.rest = bytes(self.rest)
                self.block = None  # its place is that of what is loaded now
                from .download import installing

                result = yield from installing(self)
                installing = None
            if self.action and self.sequence:
                self.close_tcp()
                self.unload()
                yield from self._call("ending", result == service.OK)
            if self.place and self.place.failures:
                self.place.failures = 0
                self.place.store()
        except Exception as e:  # the application must be told of any error
            result = service.FAILED
            self.close_tcp()
            installing = None  # or its module would stay
            updater, self.updater = self.updater, None
            has_started = updater is not None and updater.has_started
            if updater:
                updater.abort(_STREAM_TIMEOUT)
            # First of all: the heap may be too full even to load what tells the failure.
            updater = self.block = None
            self.rest = b""
            self.unload()
            from .failure import failed

            code, text = failed(self, e, has_started)
            failed = None
            if self.action:
                try:
                    yield from self._call("failed", code, text)
                except Exception as told:  # the next question tells it
                    log.error("ddi: not told: %r", told)
        except GeneratorExit:  # the application asks for something else
            if self.updater and self.updater.has_started:
                service.ota.call("error", service, _LOST)
            raise
        finally:
            self.close_tcp()
            if self.updater:
                self.updater.abort(_STREAM_TIMEOUT)
        try:
            service.finish(result, code, text, self.wait_s)
        except MemoryError as e:
            sys.print_exception(e)  # the update is verified all the same
        if result == service.OK:
            service.ota.call("end", service)
            restarts = service.reboot_on_update
            if restarts is None:
                restarts = service.ota.settings.get("reboot_on_success", True)
            if restarts:
                from ..hal import reset

                log.info("pull: restart")
                reset()
