"""The board's watchdog."""

import control
import power


class WDT:
    def __init__(self, id=0, timeout=5000):
        if id != 0 or timeout != 5000:
            raise ValueError
        power.words[control.WATCHDOG // 4] = power.words[control.WATCHDOG_MS // 4]
        self.feed()

    def feed(self):
        power.words[control.FED // 4] += 1
