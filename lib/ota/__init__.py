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
# The interpreter needs less than this for a new module: see check_room().
_ROOM_BYTES = const(128)
# An error that lasts is logged again after twice the time, from the first to the second of these.
_SAY_AGAIN_MS = const(1000)
_MAX_SAY_AGAIN_MS = const(3600000)

# An update that the application feeds is discarded when so long nothing was written.
_FORGOTTEN_S = const(60)
_LONGEST_S = const(500000)  # that ticks can tell
_STREAM_TIMEOUT = const(6)

# If more than this is free and not even a byte can be allocated, the heap is locked.
_LOCKED_ABOVE_BYTES = const(1024)

# The modules that stay in memory. Others are loaded when a service needs them, and unloaded when it
# has done its work. md5_viper stays, since its native code lies in IRAM: each import would take
# more of that until the next reset.
_RESIDENT = const("ota.arduino ota.log ota.md5_viper ota.mdns ota.pull ota.start ota.web ")

# The size of the largest image that fits into a slot, in bytes.
_SLOT_SPACE_BYTES = const(0x19000 - 256)


def __getattr__(name):
    # Python calls this for names that the module lacks: `from ota import Updater`, `from . import
    # hal`.
    if name == "OTAError" or name == "Updater":
        # A program may keep a class that it has imported, so `OTA.unload` does not remove its
        # module.
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
            raise  # the module exists, and one that it imports does not
        raise AttributeError(name)


class Callbacks:
    """Functions that an application registers. Each `on_…` is a decorator, or is called plainly.

    A new function replaces the one that was registered before.

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
        """Call `function(code)` when an update has failed; *code* is the service's own number."""
        self.error_callback = function
        return function


class OTA(Callbacks):
    """The board's update services, its trial and its health.

    Settings come from /ota.json; *settings* given here take precedence: see docs/SETTINGS.md.
    Call `begin()` once, then `handle()` often, or await `run()`.
    """

    # A function that returns whether updates are allowed now; None: they always are.
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
    # Whether data were received in this boot that belong to an application not yet received.
    has_staged_data = False
    # Whether this boot runs the services alone, for one update; and that update, as restart.take()
    # returns it.
    is_alone = False
    kept = None
    # Whether handle() is running, or a question to a server that blocks: if a callback calls
    # handle() meanwhile, that call does nothing.
    is_handling = False
    uptime_s = 0  # seconds since begin()
    # When handle() saw that the Updater had done something, in the same; None: it has done more
    # since then.
    fed_at = None
    joins = 0  # how often a network was joined
    # The watchdog of a trial, the listener, the mDNS responder, and the kind of the last error in
    # handle(). begin.py sets further attributes.
    watchdog = arduino = mdns = error = None
    # All services. Each has `handle()`, which returns whether it is busy, and `session`: the
    # update or request that it is working on, or None.
    services = ()
    # The update page, a web.Web, and the client of update servers, a pull.HTTPUpdate; each is made
    # when it is first used.
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
        if self.is_handling:
            return True
        self.is_handling = True
        now = ticks_ms()
        busy = False
        try:
            # An application may have switched these off and not on again; the services need them.
            gc.enable()
            if not sys.path:  # with an empty path no import works, not even of a loaded module
                sys.path.append("/rom/lib")
            if not self.arduino:
                self.begin()
            # Nothing here needs memory of its own: deadlines must be kept even in a full heap.
            settings = self.settings
            if self.trial and ticks_diff(now, self.begun) > settings.get("trial_s", 600) * 1000:
                # This comes first: if the heap is too full for it, the watchdog must not be fed.
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
                self.window = 0  # ticks start again after 12 days and would reopen the window
            problem = session = None
            for service in self.services:
                session = session or service.session
                if connected or service.session:  # without a network, a session must time out
                    try:
                        busy = service.handle() or busy
                    except Exception as e:  # the services after it go on
                        problem = e
            if problem:
                raise problem
            if self.updater and not session:
                if self.fed_at is None:
                    self.fed_at = self.uptime_s
                elif self.uptime_s - self.fed_at > _FORGOTTEN_S:
                    # The application has ended or forgotten it, and no other update could begin.
                    self.updater.abort(_STREAM_TIMEOUT)
            if not connected:  # after the services, since this needs memory while it runs
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
            self.is_handling = False
        return busy

    def _look_after_network(self, connected):
        # The change is noted first: if there is no memory for the log line, the services go on.
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
        # An error that lasts is logged at growing intervals. One that was logged days ago, before
        # ticks started again from 0, counts as one that lasts.
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
        """Call `handle` for ever, and let other tasks run in between."""
        from asyncio import sleep_ms

        while True:
            await sleep_ms(0 if self.handle() else 10)

    @property
    def is_updating(self):
        """Whether an update is running, by any service, from when its host has proved its password.

        It is true until the host has been told the result, and after a success until the restart.
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
        """The update page, a web.Web; if the setting `web` is false, its `begin` switches it on."""
        if self.own_web is None:
            from .web import Web

            web = Web(self)
            self.services = list(self.services) + [web]
            self.own_web = web
        return self.own_web

    @property
    def pull(self):
        """The client of update servers, a pull.HTTPUpdate; with `update_url` it asks by itself."""
        if self.own_pull is None:
            from .pull import HTTPUpdate

            self.own_pull = HTTPUpdate(self)
        return self.own_pull

    def free_space(self):
        """Return the size of the largest application that an update can bring, in bytes."""
        return _SLOT_SPACE_BYTES

    def allow_for(self, seconds):
        """Allow updates for *seconds* from now, 500,000 at most, and then only when `gate` does."""
        self.window = ticks_add(ticks_ms(), int(min(seconds, _LONGEST_S) * 1000))

    def allows_updates(self):
        """Return whether the window or the gate allows updates now; true if there is neither."""
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
        """Return whether a host must prove a password to update this board."""
        get = self.settings.get
        return bool(
            get("auth", "classic") != "classic"
            or get("password")
            or get("password_hash")
            or get("password_sha256")
        )

    @property
    def last_outcome(self):
        """How the last update ended, in words such as "confirmed: 17"; "" if it is not known.

        It is read from flash.
        """
        check_room()
        from .trial import last_outcome

        outcome = last_outcome()
        self.unload()
        return outcome

    def call(self, event, service, *args):
        """Call the functions registered for *event*: this object's, and those of *service*, if any.

        *event* is "start", "end", "progress" or "error". An exception of an `on_start` function
        reaches the caller, which refuses the update; others are logged.
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

        Return whether it is confirmed. If not, the flash or the memory failed: call this again
        later.
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
        """Take back the version on trial, and restart with the version that ran before.

        *why* becomes part of `last_outcome`. Outside a trial it does nothing. Raises OSError when
        the flash fails.
        """
        if self.trial:
            check_room()
            from .trial import reject

            reject(why)

    def revert(self):
        """Go back to the version that ran before this one: it is on trial after a restart.

        During a trial this does what `reject` does. Raises OTAError 37 when that version cannot be
        used any more: the next update overwrites it. Raises OSError when the flash fails.
        """
        check_room()
        from .hal import reset
        from .trial import go_back

        try:
            go_back(self, "the application wished it")
            reset()
        finally:
            self.unload()

    def _become_healthy(self):
        if self.trial and self.own_web:
            # Somebody who looks at the page must not fill the heap so that the trial cannot end
            # well.
            while self.own_web.session:
                self.own_web.session.pop().close()
        # The services may have loaded modules for a moment, for instance to answer a host that asks
        # for the status. That memory must not count as the application's.
        self.unload()
        check_room()
        from .trial import become_healthy

        try:
            become_healthy(self)
        finally:
            self.unload("ota.trial", "ota.settings")  # even in the middle of a question to a server

    def unload(self, *modules):
        """Unload modules that are not needed any more: all but those of _RESIDENT.

        While a service is busy, only *modules*, which it names, are unloaded. Modules that the
        program has imported stay.
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
    # An application may have locked the heap and not unlocked it.
    try:
        bytearray(1)
    except MemoryError:
        if gc.mem_free() > _LOCKED_ABOVE_BYTES:
            heap_unlock()


def check_room():
    """Raise MemoryError if the heap is nearly full, so that no import is tried.

    If MicroPython finds no room for a new module, it leaves an empty entry in sys.modules, and
    crashes when the module is imported again.
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
