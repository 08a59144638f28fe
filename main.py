# Runs after boot.py: the application that boot.py chose, and the update services beside it.
try:
    import ota.start

    ota.start.run()
except (Exception, SystemExit) as e:
    # Nothing is loaded from the file system here: the heap may be what ran out.
    import machine
    import sys
    import time

    sys.print_exception(e)
    time.sleep(60)
    machine.reset()
