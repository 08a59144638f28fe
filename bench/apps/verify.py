"""Times the check of a signature against hashing an image on this board, and finds out how much
heap it needs; prints µs, µs and bytes.
"""

import gc
import time
from hashlib import sha256

from ota.updater.signature import verify

_ROUNDS = 5
_HASHED_BYTES = 100_000
_CHUNK = 1460
_STEP_BYTES = 256
_BALLAST_BYTES = 120


def check():
    with open("/image") as f:
        digest = sha256(f.read(100)).digest()
    with open("/signature", "rb") as f:
        signature = f.read(512)
    verify(digest, signature, False)


def hash_as_much():
    digest = sha256()
    chunk = bytes(_CHUNK)
    for _ in range(_HASHED_BYTES // _CHUNK):
        digest.update(chunk)
    digest.digest()


def median_us(function):
    times = []
    for _ in range(_ROUNDS):
        gc.collect()
        begun = time.ticks_us()
        function()
        times.append(time.ticks_diff(time.ticks_us(), begun))
    return sorted(times)[_ROUNDS // 2]


def needed_bytes():
    # The least that must be free for the check to succeed, what reads the key file included.
    ballast = [None] * 512
    for free in range(_STEP_BYTES, 1 << 16, _STEP_BYTES):
        gc.collect()
        count = 0
        while gc.mem_free() > free:
            ballast[count] = bytearray(_BALLAST_BYTES)
            count += 1
        try:
            check()
            return free
        except MemoryError:
            pass
        finally:
            for i in range(count):
                ballast[i] = None
    return None


print("verified", median_us(check), "hashed", median_us(hash_as_much), "in", needed_bytes())
