"""What the board's `esp` says of the chip."""

import esp

_USER_START = 0x100000


def flash_size():
    return len(esp.flash)


def flash_id():
    return 0x1640EF


def flash_user_start():
    return _USER_START


def freemem():
    return 20000


def check_fw():
    return True


def osdebug(level=None):
    pass
