"""Applications that hold nearly all of the heap, and what is left beside them."""

# Holds all of the heap but {leaves} bytes, in small pieces, from when the services listen.
APP = """
import gc, time

def main(ota):
    ota.on_start(lambda: print("on_start"))
    ota.on_error(lambda code: print("update failed, code", code))
    ota.on_end(lambda: print("update ended"))
    print("app {version} runs, outcome:", ota.last_outcome)
    while ota.arduino.socket is None:
        ota.handle()
    held = None
    gc.collect()
    while gc.mem_free() > {leaves}:
        held = held, bytearray(100)
        gc.collect()
    print("leaves", gc.mem_free())
    while True:
        ota.handle()
        time.sleep_ms(2)
"""


def leaving(free_bytes: int) -> str:
    """Give an application that leaves *free_bytes* of the heap to the services."""
    return APP.replace("{leaves}", str(free_bytes))
