"""Unpack the pending image into the idle slot; runs at boot, before the application loads."""

import os
from binascii import hexlify

from micropython import const

from . import log, slot_contents, slots
from .errors import OTAError
from .image import read_image
from .updater import STAGING

_NO_SPACE = const(4)
_DAMAGED = const(37)


class _SlotWriter:
    # Where read_image puts the members.
    def __init__(self, folder):
        self._folder = folder
        self._file = None

    def open(self, name):
        at = name.rfind("/")
        if at > 0:
            self._make_folder(name[:at])
        self._file = open(self._folder + "/" + name, "wb")

    def write(self, view):
        if self._file.write(view) != len(view):
            raise OTAError(_NO_SPACE)

    def close(self):
        if self._file:
            self._file.close()
        self._file = None

    def _make_folder(self, name):
        at = name.rfind("/")
        if at > 0:
            self._make_folder(name[:at])
        try:
            os.mkdir(self._folder + "/" + name)
        except OSError:
            pass  # it is there, or opening the file will say what is wrong


def install(boot_record):
    """Check the pending image again, unpack it, read it all back, and set the idle slot on trial.

    Takes *boot_record* from PENDING to TRIAL by one store. Raises OTAError or OSError with the
    record on flash unchanged; the active slot is never touched.
    """
    buf = memoryview(bytearray(2048))
    size_bytes, digest = slot_contents.file_digest(STAGING, buf)
    if size_bytes != boot_record.size_bytes or digest != hexlify(boot_record.digest):
        raise OTAError(_DAMAGED, "staging file changed")
    slot = slots.idle(boot_record.active)
    slots.remove(slots.path(slot))
    os.mkdir(slots.path(slot))
    writer = _SlotWriter(slots.path(slot))
    try:
        with open(STAGING, "rb") as f:
            for _ in read_image(f, buf, writer):
                pass
    finally:
        writer.close()
    manifest = slot_contents.verify_slot(slot, buf)
    if manifest is None or manifest.sequence != boot_record.sequence:
        raise OTAError(_DAMAGED, "slot %s: read back differs" % slot)
    boot_record.size_bytes = 0
    boot_record.digest = b""
    boot_record.trial = slot
    boot_record.attempts = 0
    boot_record.store()
    log.info("install: %s %s is in slot %s", manifest.name, manifest.version, slot)
    slots.remove(STAGING)
