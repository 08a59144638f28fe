# Runs after boot.py: the application that boot.py chose, and the update services beside it.
import sys

try:
    import ota.start

    ota.start.run()
except (Exception, SystemExit) as e:
    # Nothing is loaded from the file system here: the heap may be what ran out.
    import umachine
    import utime

    sys.print_exception(e)
    utime.sleep(60)
    umachine.reset()
