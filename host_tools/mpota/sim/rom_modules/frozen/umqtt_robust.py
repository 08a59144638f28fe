"""An MQTT client with the names of umqtt.robust, which connects again when the connection ends."""

import umqtt_simple
from time import sleep


class MQTTClient(umqtt_simple.MQTTClient):
    DELAY = 2
    DEBUG = False

    def delay(self, i):
        sleep(self.DELAY)

    def log(self, in_reconnect, e):
        if self.DEBUG:
            print("mqtt %s: %r" % ("reconnect" if in_reconnect else "error", e))

    def reconnect(self):
        i = 0
        while True:
            try:
                return super().connect(False)
            except OSError as e:
                self.log(True, e)
                i += 1
                self.delay(i)

    def _again(self, call, *args):
        while True:
            try:
                return call(*args)
            except OSError as e:
                self.log(False, e)
            self.reconnect()

    def publish(self, topic, msg, retain=False, qos=0):
        return self._again(super().publish, topic, msg, retain, qos)

    def wait_msg(self):
        return self._again(super().wait_msg)

    def check_msg(self, attempts=2):
        for _ in range(attempts):
            try:
                return super().check_msg()
            except OSError as e:
                self.log(False, e)
            self.reconnect()
