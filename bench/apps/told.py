"""An application that answers each datagram with the heap in use, the most heap that was in use
since the last answer, and whether a host is being asked for the password.
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
