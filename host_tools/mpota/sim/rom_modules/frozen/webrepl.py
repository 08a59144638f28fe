"""The prompt in a browser, which the simulated board does not have."""


def start(port=8266, password=None, accept_handler=None):
    raise NotImplementedError("webrepl is not simulated")


start_foreground = start


def stop():
    pass
