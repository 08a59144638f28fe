"""Applications that hold nearly all of the heap."""

from device import TAKES_COMMANDS

# This application holds all of the heap but {leaves} bytes, in small pieces, as soon as the
# services listen.
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
    """Return an application that leaves *free_bytes* of the heap to the services."""
    return APP.replace("{leaves}", str(free_bytes))


# This application evaluates commands, as device.COMMANDED_APP does. It also has the command
# `leave(free, phase, ms)`, which holds all but *free* bytes of the heap for *ms*. It holds them
# from now on, or from a phase of the next update.
HOLDING_APP = f"""
import gc, network, socket, time

held = wanted = until = None

def leave(free, phase="now", ms=3000):
    global wanted
    wanted = free, phase, ms

def at(phase):
    global held, wanted, until
    if wanted and wanted[1] == phase:
        (free, _, ms), wanted = wanted, None
        print("holds", phase)
        until = time.ticks_add(time.ticks_ms(), ms)
        gc.collect()
        while gc.mem_free() > free:
            held = held, bytearray(64)
            gc.collect()

def let_go():
    global held, until
    held = until = None
    gc.collect()
    print("has let go")

def main(ota):
    ota.on_start(lambda: at("start"))
    ota.on_progress(lambda done, total: at("last" if done == total else "progress"))
    ota.on_error(lambda code: print("update failed, code", code))
    ota.on_end(lambda: print("update ended"))
    print("app {{version}} runs")
{TAKES_COMMANDS}    while True:
        ota.handle()
        try:
            at("now")
            if ota.arduino.talk:
                at("asked")
            if until is not None:  # what it takes to be told something is not there
                if time.ticks_diff(until, time.ticks_ms()) <= 0:
                    let_go()
                time.sleep_ms(2)
                continue
            command = commands.recvfrom(400)[0]
            print("gives", eval(command, globals(), {{"ota": ota}}))
        except OSError:
            time.sleep_ms(2)
        except Exception as e:
            print("raises", type(e).__name__, e)
"""
