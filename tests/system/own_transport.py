"""An application with its own transport for updates, and a host for it."""

import contextlib
import socket
import struct

from device import Device

PORT = 7000

# This application takes one image after the other over TCP: four bytes with the size, then the
# image. `{take}` is the code that feeds an image to the Updater. The application prints the state
# of the Updater before, during and after an update.
SERVING_APP = """
import network, socket, time
from ota import OTAError, Updater

def state(updater):
    return (updater.is_running, updater.is_finished, updater.progress, updater.remaining,
            updater.error)

def take(ota, updater, peer, size):
    {take}

def main(ota):
    ota.on_error(lambda code: print("update failed, code", code))
    ota.on_start(lambda: print("on_start"))
    ota.on_progress(lambda done, total: print("progress", done, total))
    print("app {version} runs")
    while not network.WLAN(network.WLAN.IF_STA).isconnected():
        ota.handle()
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("", 7000))
    server.listen(1)
    server.settimeout(0)
    print("takes images")
    while True:
        ota.handle()
        try:
            peer = server.accept()[0]
        except OSError:
            time.sleep_ms(10)
            continue
        peer.settimeout(10)
        updater = Updater(ota)
        try:
            take(ota, updater, peer, int.from_bytes(peer.read(4), "little"))
        except OTAError as e:
            print("state", state(updater), ota.is_updating)
            print("refused:", e)
            peer.close()
        else:
            print("taken")
            from machine import reset
            reset()
"""


def serving(take: str) -> str:
    """Return the application that feeds its Updater by *take*."""
    return SERVING_APP.replace("{take}", take.strip())


def send(device: Device, data: bytes, size: int | None = None, *, shut: bool = True) -> int:
    """Send an image to the application; return the error number that it ends with, or 0.

    It is announced to have *size* bytes. Without *shut*, it does not hear that no more comes.
    """
    start = device.said
    with socket.create_connection((device.board.ip, PORT), timeout=20) as peer:
        with contextlib.suppress(OSError):  # the application does not read an image that it refuses
            peer.sendall(struct.pack("<I", len(data) if size is None else size) + data)
            if shut:
                peer.shutdown(socket.SHUT_WR)
        ended = device.board.wait_for(r"^refused: ERROR.(\d+)|^taken$", start=start)
    return int(ended[1] or 0)
