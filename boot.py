# Runs at every power-up, before main.py: decides which version of the application runs. It never
# touches the network.
import gc
import sys

# The package in the system ROM and the modules of the firmware come first in sys.path: a folder
# /ota or /asyncio in the file system must not take their place.
sys.path[:0] = ["/rom/lib", ".frozen"]
gc.collect()
try:
    import ota.boot

    ota.boot.decide()
except Exception as e:
    sys.print_exception(e)
