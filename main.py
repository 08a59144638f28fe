# Runs after boot.py: starts the application that boot.py has chosen, and the update services.
import sys


def clear_stack(depth):
    # The collector takes old values on the stack for values in use: what boot.py has left there
    # could keep the modules of the boot decision in memory as long as the application runs.
    return depth and clear_stack(depth - 1)


try:
    clear_stack(12)
    import ota.start

    ota.start.run()
except (Exception, SystemExit) as e:
    # Nothing is loaded from the file system here: the error may be that the heap is full.
    import umachine
    import utime

    sys.print_exception(e)
    utime.sleep(60)
    umachine.reset()
