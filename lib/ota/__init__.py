"""Over-the-air updates for MicroPython on the ESP8266: `OTA` is what an application uses.

`from ota import OTA, OTAError, Updater`. RAM: about 2 KB, which stay as long as the program runs.
"""

import gc
import sys

from micropython import const, heap_unlock
from utime import ticks_add, ticks_diff, ticks_ms

from . import log

# An application that is away from handle() for longer than this is not healthy.
_MAX_AWAY_MS = const(5000)
# More than the interpreter takes for a new module, see check_room().
_ROOM_BYTES = const(128)
# An error that lasts is said again after twice as long each time, from this to that.
_SAY_AGAIN_MS = const(1000)
_MAX_SAY_AGAIN_MS = const(3600000)

# Where so much is free and a byte cannot be had, the heap is locked.
_LOCKED_ABOVE_BYTES = const(1024)

# The modules that stay in memory. Others are loaded when they are needed, and leave when a service
# has done its work. md5_viper stays, since its native code lies in IRAM, where every import would
# take up more until a reset.
_RESIDENT = const("ota.arduino ota.log ota.md5_viper ota.mdns ota.pull ota.start ota.web ")

# The bytes of the largest image that a slot takes.
_SLOT_SPACE_BYTES = const(0x19000 - 256)


def __getattr__(name):
    # Called for what this module has not: `from ota import Updater`, and `from . import hal` too.
    if name == "OTAError" or name == "Updater":
        # A program that asks for a class may keep it: `OTA.unload` leaves its module where it is.
        from .errors import OTAError

        globals()["OTAError"] = OTAError
        if name == "OTAError":
            return OTAError
        from .updater import Updater

        globals()["Updater"] = Updater
        return Updater
    try:
        return __import__("ota." + name, globals(), None, (name,))
    except ImportError as e:
        if "'ota." + name not in str(e):
            raise  # the module is there, and what it imports is not
        raise AttributeError(name)


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


class OTA(Callbacks):
    """The board's update services, its trial and its health.

    Settings come from /ota.json; *settings* given here take precedence: see docs/SETTINGS.md.
    Call `begin()` once, then `handle()` often, or await `run()`.
    """

    # A function that says whether updates are allowed now; None: they are.
    gate = None
    # Until when allow_for() allows updates, in ticks of a millisecond; 0: that time is over;
    # None: it was never called.
    window = None
    # Whether a healthy trial confirms by itself. If not, the application calls confirm().
    auto_confirm = True
    # Whether the application has been healthy for `confirm_s`.
    healthy = False
    # The slot that runs, "a" or "b"; None: no application of a slot.
    slot = None
    # Whether the application of the slot has ended, so that the services go on without it.
    has_ended = False
    # Whether the version that runs is on trial.
    trial = False
    # The Updater whose update is going on, whoever feeds it, or None.
    updater = None
    # Whether data have come in this boot for an application that is still to come.
    has_staged_data = False
    # Whether this boot runs the services alone, for one update; and that update, as restart.take()
    # gives it.
    is_alone = False
    kept = None
    # Whether handle() is at work: a callback that calls it again does nothing.
    _is_handling = False
    uptime_s = 0  # seconds since begin()
    joins = 0  # how often a network was joined
    # The watchdog of a trial, the listener, the mDNS responder, and the kind of the error that
    # handle() met last. What there is from begin() on is in begin.py.
    watchdog = arduino = mdns = error = None
    # All services. Each has `handle()`, which returns whether it is busy, and `session`: what it is
    # at work on, or None.
    services = ()
    # The update page, a web.Web, and what asks servers, a pull.HTTPUpdate, once asked for.
    own_web = own_pull = None

    def __init__(self, **settings):
        from .settings import read_settings

        self.settings = read_settings(settings)
        self.unload()

    def begin(self):
        """Join the Wi-Fi network and get the services ready; they start when there is a network."""
        if self.arduino:
            return  # start.py has called it already
        from .begin import begin

        begin(self)
        self.unload()  # also what the boot decision needed

    def handle(self):
        """Do what there is to do now, for about 25 ms at most; return whether an update goes on."""
        if self._is_handling:
            return True
        self._is_handling = True
        now = ticks_ms()
        busy = False
        try:
            # An application may have turned these off for good, without a thought of the services.
            gc.enable()
            if not sys.path:  # then no import finds any module, not even one that is loaded
                sys.path.append("/rom/lib")
            if not self.arduino:
                self.begin()
            # Nothing here takes memory by itself: where there is none, deadlines run all the same.
            settings = self.settings
            if self.trial and ticks_diff(now, self.begun) > settings.get("trial_s", 600) * 1000:
                # First of all: where the heap is too full for that, the watchdog is not fed.
                check_room()
                from .trial import give_up

                give_up()
            if self.watchdog:
                self.watchdog.feed()
            connected = self.station.isconnected()
            if connected and not self.is_connected:
                self._look_after_network(connected)
            away_ms = ticks_diff(now, self.last)
            if not connected or away_ms > _MAX_AWAY_MS:
                self.since = now
                if self.trial and away_ms > _MAX_AWAY_MS:
                    log.error("trial: handle() was not called for %d ms", away_ms)
            self.last = now
            self._count_uptime(now)
            if self.window and ticks_diff(self.window, now) <= 0:
                self.window = 0  # ticks come round after 12 days, and would open it again
            for service in self.services:
                if connected or service.session:  # A session must time out without a network, too.
                    busy = service.handle() or busy
            if not connected:  # after the services, since that needs memory as long as it lasts
                self._look_after_network(connected)
            confirm_ms = settings.get("confirm_s", 60) * 1000
            is_time = ticks_diff(now, self.since) >= confirm_ms
            if is_time and not self.healthy and not self.is_updating:
                self._become_healthy()
        except Exception as e:
            # The flash, the network or the memory failed. The application goes on, but a board
            # whose services fail is not healthy.
            self.since = now
            self._say(e, now)
            gc.collect()
            if isinstance(e, MemoryError):
                _unlock_heap()
        finally:
            self._is_handling = False
        return busy

    def _look_after_network(self, connected):
        # What has changed is noted first: where there is no memory for telling, the services go on.
        was_connected, self.is_connected = self.is_connected, connected
        self.joins += connected
        check_room()
        from .wifi import look_after

        look_after(self, was_connected)
        if connected:
            self.unload()

    def _count_uptime(self, now):
        seconds = ticks_diff(now, self.counted) // 1000
        if seconds:
            self.uptime_s += seconds
            self.counted = ticks_add(self.counted, seconds * 1000)

    def _say(self, e, now):
        # An error that lasts is said at growing intervals; one that was said days ago, before ticks
        # came round, counts as one that lasts.
        if type(e) is not self.error:
            self.error = type(e)
            self.pause_ms = _SAY_AGAIN_MS
        elif 0 < ticks_diff(self.say_again, now) <= self.pause_ms:
            return
        else:
            self.pause_ms = min(2 * self.pause_ms, _MAX_SAY_AGAIN_MS)
        self.say_again = ticks_add(now, self.pause_ms)
        sys.print_exception(e)

    async def run(self):
        """Do for ever what `handle` does, and let other tasks run in between."""
        from asyncio import sleep_ms

        while True:
            await sleep_ms(0 if self.handle() else 10)

    @property
    def is_updating(self):
        """Whether an update is going on, whoever brings it, once its host has proved itself.

        It is until the host has been told the result and, after a good one, until the restart.
        """
        return (
            self.updater is not None
            or bool(self.arduino and self.arduino.session)
            or bool(self.own_web and self.own_web.is_updating)
        )

    @property
    def address(self):
        """The board's IP address, as text."""
        return self.station.ifconfig()[0]

    @property
    def web(self):
        """The update page, a web.Web: where the setting `web` is off, its `begin` turns it on."""
        if self.own_web is None:
            from .web import Web

            web = Web(self)
            self.services = list(self.services) + [web]
            self.own_web = web
        return self.own_web

    @property
    def pull(self):
        """What asks servers for updates, a pull.HTTPUpdate: by itself with `update_url`."""
        if self.own_pull is None:
            from .pull import HTTPUpdate

            self.own_pull = HTTPUpdate(self)
        return self.own_pull

    def free_space(self):
        """Return how many bytes the largest application that an update can bring may have."""
        return _SLOT_SPACE_BYTES

    def allow_for(self, seconds):
        """Allow updates for *seconds* from now, and after that only when `gate` does."""
        self.window = ticks_add(ticks_ms(), int(seconds * 1000))

    def allows_updates(self):
        """Return whether the window or the gate allows updates now; without either, they do."""
        if self.window and ticks_diff(self.window, ticks_ms()) > 0:
            return True
        if self.gate is None:
            return self.window is None
        try:
            return bool(self.gate())
        except Exception as e:
            log.error("gate raised %r: closed", e)
            return False

    def has_password(self):
        """Return whether a host must prove something to update this board."""
        get = self.settings.get
        return bool(
            get("auth", "classic") != "classic"
            or get("password")
            or get("password_hash")
            or get("password_sha256")
        )

    @property
    def last_outcome(self):
        """How the last update ended, in words, as "confirmed: 17"; "" if it is not known.

        It is read from flash.
        """
        check_room()
        from .trial import last_outcome

        outcome = last_outcome()
        self.unload()
        return outcome

    def call(self, event, service, *args):
        """Call what is registered here, and by *service* (or None), for *event*.

        It is "start", "end", "progress" or "error". Only what `on_start` raises reaches the caller:
        it refuses the update.
        """
        for callbacks in (self, service):
            function = getattr(callbacks, event + "_callback", None)
            if function:
                try:
                    function(*args)
                except Exception as e:
                    if event == "start":
                        raise
                    log.error("on_%s raised %r; the update goes on", event, e)

    def confirm(self):
        """Keep the version on trial: it becomes the one that every boot runs.

        Return whether it is. If not, the flash or the memory failed: call it again, later.
        """
        if self.trial:
            try:
                check_room()
                from .trial import confirm

                confirm(self)
            except Exception as e:
                sys.print_exception(e)
            self.unload()
        return not self.trial

    def reject(self, why="the application wished it"):
        """Take the version on trial back, and restart into the one before.

        *why* becomes part of `last_outcome`. Outside a trial it does nothing. Raises OSError when
        the flash fails.
        """
        if self.trial:
            check_room()
            from .trial import reject

            reject(why)

    def revert(self):
        """Go back to the version before this one: it is tried again after a restart.

        In a trial that is what `reject` does. Raises OTAError 37 when that version is not usable
        any more, which it is until the next update begins, and OSError when the flash fails.
        """
        self.reject()
        check_room()
        from .trial import revert

        try:
            revert()
        finally:
            self.unload()

    def _become_healthy(self):
        if self.trial and self.own_web:
            # Whoever looks at the page must not make the heap too full for the trial to end well.
            while self.own_web.session:
                self.own_web.session.pop().close()
        # What the services have loaded for a moment, such as an answer to a host that asks for the
        # status, is not what the application leaves.
        self.unload()
        check_room()
        from .trial import become_healthy

        try:
            become_healthy(self)
        finally:
            self.unload("ota.trial", "ota.settings")  # in the midst of a question to a server, too

    def unload(self, *modules):
        """Take out of memory what has done its work: all modules but those of _RESIDENT.

        While a service is at work, nothing but *modules*, which the service names; and what a
        program has asked for stays.
        """
        for module in modules:
            if module in sys.modules:
                _unload(module)
        if self.updater is None and not any(service.session for service in self.services):
            for module in list(sys.modules):
                if module[:4] == "ota." and module + " " not in _RESIDENT:
                    _unload(module)
        gc.collect()


def _unlock_heap():
    # An application that locks the heap, and forgets it, leaves nobody any memory.
    try:
        bytearray(1)
    except MemoryError:
        if gc.mem_free() > _LOCKED_ABOVE_BYTES:
            heap_unlock()


def check_room():
    """Raise MemoryError where no import must be tried, since the heap is all but full.

    Where MicroPython finds no room for a new module, it leaves an entry without one in sys.modules,
    and crashes when that is imported again.
    """
    bytearray(_ROOM_BYTES)


def _unload(module):
    asked_for = globals()
    if module[:11] == "ota.updater" and "Updater" in asked_for:
        return
    if module == "ota.errors" and "OTAError" in asked_for:
        return
    parent, child = module.rsplit(".", 1)
    sys.modules.pop(module)
    if parent in sys.modules:
        sys.modules[parent].__dict__.pop(child, None)
