# Runs after boot.py: the application that boot.py chose, and the update services beside it.
try:
    import ota.start

    ota.start.run()
except Exception as e:
    import sys
    import time

    sys.print_exception(e)
    time.sleep(60)
    import ota.hal

    ota.hal.reset()
