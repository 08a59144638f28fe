# Runs at every power-up, before main.py: installs an update that is pending, and decides which
# version of the application runs. It never touches the network.
import gc

gc.collect()
try:
    import ota.boot

    ota.boot.decide()
except Exception as e:
    import sys

    sys.print_exception(e)
