"""Over-the-air updates for MicroPython on the ESP8266: `OTA` is what an application uses."""

import gc
import sys
import time

from micropython import const

# An application that is away from handle() for longer than this is not healthy.
_MAX_AWAY_MS = const(5000)
# After this long without a network, the Wi-Fi key is given to the chip again: it may have changed.
_JOIN_AGAIN_MS = const(30000)

# What stays in memory: all else is loaded when it is needed, and forgotten after. md5_viper stays
# too, since its native code sits in IRAM, where every import would take up more until a reset.
_RESIDENT = ("log", "espota", "start", "watchdog", "md5_viper")


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
    # Whether the version that runs is on trial.
    trial = False
    # What begin.py puts in place: the watchdog of a trial, the Wi-Fi station, the listener; and in
    # ticks the last time with a network, begin(), since when all is well, the last handle().
    watchdog = station = arduino = joined = begun = since = last = None

    def __init__(self, **settings):
        from .settings import read_settings

        self.settings = read_settings(settings)
        forget_modules("settings")

    def begin(self):
        """Join the Wi-Fi network and get the services ready; they start when there is a network."""
        if self.arduino:
            return  # as for an application in a slot, whose `ota` has begun
        from .begin import begin

        begin(self)
        forget_modules()

    def handle(self):
        """Do what there is to do now, for about 25 ms at most; return whether an update goes on."""
        now = time.ticks_ms()
        busy = False
        try:
            get = self.settings.get  # takes memory, and must not fail outside
            if not self.arduino:
                self.begin()
            if self.watchdog:
                self.watchdog.feed()
            connected = self.station.isconnected()
            if not connected or time.ticks_diff(now, self.last) > _MAX_AWAY_MS:
                self.since = now
            self.last = now
            if connected:
                self.joined = now
            elif time.ticks_diff(now, self.joined) > _JOIN_AGAIN_MS and get("ssid"):
                self.joined = now
                self.station.connect(get("ssid"), get("key"))
            if self.window and time.ticks_diff(self.window, now) <= 0:
                self.window = 0  # ticks come round after 12 days, and would open it again
            if connected or self.arduino.session:  # which times out without a network, too
                busy = self.arduino.handle()
            if self.trial and time.ticks_diff(now, self.begun) > get("trial_s", 600) * 1000:
                from .trial import give_up

                give_up()
            if not self.healthy and (
                time.ticks_diff(now, self.since) >= get("confirm_s", 60) * 1000
            ):
                from .trial import become_healthy

                become_healthy(self)
        except Exception as e:
            # The flash, the network or the memory failed. The application goes on, but a board
            # whose services fail is not healthy.
            self.since = now
            sys.print_exception(e)
            gc.collect()
        return busy

    async def run(self):
        """Do for ever what `handle` does, and let other tasks run in between."""
        from asyncio import sleep_ms

        while True:
            await sleep_ms(0 if self.handle() else 10)

    @property
    def is_updating(self):
        """Whether an update is going on: from the moment at which its host has proved itself."""
        session = self.arduino and self.arduino.session
        return bool(session and session.stage)

    def allow_for(self, seconds):
        """Allow updates for *seconds* from now, and after that only when `gate` does."""
        self.window = time.ticks_add(time.ticks_ms(), int(seconds * 1000))

    def confirm(self):
        """Keep the version on trial: it becomes the one that every boot runs.

        Return whether it is. If not, the flash or the memory failed: call it again, later.
        """
        if self.trial:
            from .trial import confirm

            try:
                confirm(self)
            except Exception as e:
                sys.print_exception(e)
            forget_modules("trial", "record", "hal", "keys", "slots")
        return not self.trial

    def reject(self):
        """Take the version on trial back, and restart into the one before.

        Outside a trial it does nothing. Raises OSError when the flash fails.
        """
        if self.trial:
            from .trial import reject

            reject()


def forget_modules(*names):
    """Give back the memory of the modules *names*, or of all that are not resident.

    Only a module that nothing uses any more may be named: it is emptied, since a stale pointer on
    the stack, which the collector takes for a good one, would else keep all of it. Without names,
    at the end of an update: import `ota.updater` where you use it, and not for good.
    """
    updater = sys.modules.get("ota.updater")
    if not names and updater and updater.running:
        return  # an application's own
    package = globals()
    for module in list(sys.modules):
        name = module[4:]
        if module[:4] == "ota." and (name in names if names else name not in _RESIDENT):
            package.pop(name, None)
            sys.modules.pop(module).__dict__.clear()
    gc.collect()
