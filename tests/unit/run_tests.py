"""Runs on the simulated board instead of boot.py: calls the tests of one file and reports."""

import gc
import sys

import fake_clock


def run(module_name, test_names):
    """Import *module_name* and call each of *test_names*; print a line `ok NAME` or `bad NAME`."""
    sys.path[:0] = ["/tests", "/rom/lib"]
    fake_clock.take_the_place_of_utime()
    import ota

    # A test holds on to the modules that it imports: no others are to take their place.
    ota.real_unload, ota._unload = ota._unload, lambda module: None
    try:
        module = __import__(module_name)
    except Exception as e:
        sys.print_exception(e)
        test_names = ()
    for name in test_names:
        gc.collect()
        try:
            getattr(module, name)()
        except BaseException as e:  # a reset that no test expects is none of the Exceptions
            sys.print_exception(e)
            print("bad", name)
        else:
            print("ok", name)
    print("done")
