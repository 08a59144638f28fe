"""An application that says, when it is sent a datagram, how much heap is in use, the most since it
said so last, and whether a host is asked for the password.
"""

import gc
import socket

PORT = 7000


def main(ota):
    while ota.arduino.socket is None:
        ota.handle()
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind(("", PORT))
    asked.setblocking(False)
    print("takes questions")
    most = 0
    while True:
        ota.handle()
        gc.collect()
        in_use = gc.mem_alloc()
        most = max(most, in_use)
        try:
            asked.recvfrom(1)
        except OSError:
            continue
        print("heap", in_use, most, int(ota.arduino.talk is not None))
        most = 0
