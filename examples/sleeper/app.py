"""Measure, send it, ask for an update, sleep: a board that runs on a battery.

Its pin D0 (GPIO16) must be wired to RST, or it does not wake up again. Each wake-up is a new boot.
Keys of its own in /ota.json: `collector`, the address that gets the values, and `sleep_s`.
"""

import socket
import time

import machine
import network

_PORT = 9999
# So long it stays awake at most; an update that has begun is finished.
_AWAKE_MS = 20_000


def main(ota):
    begun = time.ticks_ms()
    station = network.WLAN(network.WLAN.IF_STA)

    def may_stay():
        return time.ticks_diff(time.ticks_ms(), begun) < _AWAKE_MS

    def go_on():
        if not ota.handle():
            time.sleep_ms(10)

    while not station.isconnected() and may_stay():
        go_on()
    if station.isconnected():
        value = station.status("rssi")  # a sensor's, in a board of yours
        try:
            send(value, ota.settings.get("collector", "192.168.0.2"))
            print("sleeper: sent", value)
            # It does what it is for, so a version on trial is good. It is never awake for the
            # minute after which a board confirms by itself.
            ota.confirm()
        except OSError as e:
            print("sleeper: not sent:", e)
        ota.pull.check()
        while ota.is_updating or (ota.pull.is_checking and may_stay()):
            go_on()
    print("sleeper: sleeps")
    machine.deepsleep(int(ota.settings.get("sleep_s", 600) * 1000))


def send(value, address):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.sendto(b"%d\n" % value, (address, _PORT))
    finally:
        udp.close()
