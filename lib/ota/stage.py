"""Whether this board takes a verified release, and the step to PENDING. Part of the Updater."""

from micropython import const

from . import log, record, slots
from .errors import OTAError

_MPY_VERSION = const("6.3")

_REJECTED = const(35)
_BELOW_FLOOR = const(36)
_WRONG_BOARD = const(41)


def stage(manifest, size_bytes, digest):
    """Name the staging file, *size_bytes* with the SHA-256 *digest*, in the boot record.

    *manifest*: name, version, sequence, board, mpy, and the bytes that its files need. Raises
    OTAError with the record unchanged.
    """
    name, version, sequence, board, mpy, needed = manifest
    if board not in ("", "esp8266"):
        raise OTAError(_WRONG_BOARD, board)
    if mpy not in ("", _MPY_VERSION):
        raise OTAError(_WRONG_BOARD, ".mpy version " + mpy)
    boot_record = record.load() or record.Record()
    if sequence < boot_record.floor:
        raise OTAError(_BELOW_FLOOR, "%d < %d" % (sequence, boot_record.floor))
    if sequence == boot_record.rejected:
        raise OTAError(_REJECTED, "sequence %d" % sequence)
    # Every file of a slot takes up whole blocks of 4 KiB.
    slots.make_room(boot_record.active, needed)
    boot_record.sequence = sequence
    boot_record.size_bytes = size_bytes
    boot_record.digest = digest
    boot_record.store()
    log.info("update: %s %s verified and staged", name, version)
