"""Whether an update may begin: policy, the application's consent, room. Part of the Updater."""

import os
import time

from micropython import const

from . import forget_modules, log, record, slots
from .errors import OTAError
from .updater import STAGING

# A slot's directory, its manifest and littlefs' own blocks, beside the files themselves.
_SPARE_BYTES = const(32768)

_U_FLASH = const(0)

_NO_SPACE = const(4)
_BAD_SIZE = const(5)
_UNKNOWN_COMMAND = const(16)
_VETOED = const(32)
_NOT_NOW = const(33)
_ON_TRIAL = const(34)


def admit(updater, size, command):
    """Ask whether *updater*'s update of *size* bytes may begin, and make room for it.

    Raises OTAError.
    """
    if command != _U_FLASH:
        raise OTAError(_UNKNOWN_COMMAND)
    if size <= 0:
        raise OTAError(_BAD_SIZE)
    boot_record = record.load_for_update()
    if boot_record.trial:
        raise OTAError(_ON_TRIAL)
    if not _is_open(updater.ota):
        raise OTAError(_NOT_NOW)
    stat = os.statvfs("/")
    if 2 * size > stat[0] * stat[2]:
        raise OTAError(_NO_SPACE)  # more than there is at all: the application is not disturbed
    try:
        updater.call("start")
    except Exception as e:
        raise OTAError(_VETOED, str(e)[:40])
    if boot_record.size_bytes:
        boot_record.drop_pending()  # before the file that the record names changes
    slots.remove(STAGING)
    # The staging file and the slot's files must fit side by side.
    slots.make_room(boot_record.active, 2 * size + _SPARE_BYTES)
    try:
        os.mkdir("/.ota")
    except OSError:
        pass  # it is there
    forget_modules("admission", "record", "slots")


def _is_open(ota):
    # The window or the gate must allow it; without either, updates are always allowed.
    if ota.window and time.ticks_diff(ota.window, time.ticks_ms()) > 0:
        return True
    if ota.gate is None:
        return ota.window is None
    try:
        return bool(ota.gate())
    except Exception as e:
        log.error("gate raised %r: closed", e)
        return False
