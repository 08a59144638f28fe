"""Functions that an application registers."""

from ota import Callbacks

_EVENTS = ("start", "end", "progress", "error")


def _register(callbacks, event, function):
    return getattr(callbacks, "on_" + event)(function)


def _registered(callbacks, event):
    return getattr(callbacks, event + "_callback")


def test_nothing_is_registered_at_first():
    for event in _EVENTS:
        assert _registered(Callbacks(), event) is None


def test_a_plain_call_registers_a_function():
    for event in _EVENTS:
        callbacks = Callbacks()
        _register(callbacks, event, len)
        for other in _EVENTS:
            assert _registered(callbacks, other) is (len if other == event else None)


def test_a_decorator_gives_the_function_back():
    for event in _EVENTS:
        assert _register(Callbacks(), event, len) is len


def test_the_last_function_registered_takes_the_place_of_the_one_before():
    for event in _EVENTS:
        callbacks = Callbacks()
        _register(callbacks, event, len)
        _register(callbacks, event, max)
        assert _registered(callbacks, event) is max


def test_none_takes_a_function_away():
    callbacks = Callbacks()
    callbacks.on_start(len)
    callbacks.on_start(None)
    assert callbacks.start_callback is None


def test_two_objects_do_not_share_their_functions():
    one, other = Callbacks(), Callbacks()
    one.on_start(len)
    assert other.start_callback is None
