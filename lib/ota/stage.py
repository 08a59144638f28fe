"""Whether this board takes a verified release, and the step to PENDING. Part of the Updater."""

from micropython import const

from . import log
from .errors import OTAError

_MPY_VERSION = const("6.3")

# The largest step from the floor to a release: one absurdly high would end all that come after.
_MAX_JUMP = const(1000000)

# Of a manifest, with its newline.
_MAX_LINE = const(256)

_REJECTED = const(35)
_BELOW_FLOOR = const(36)
_WRONG_BOARD = const(41)
_JUMP = const(43)
_WRONG_APP = const(44)


def stage(manifest, size_bytes, digest, settings):
    """Name the staging file, *size_bytes* with the SHA-256 *digest*, in the boot record.

    *manifest* is the image's; of *settings*, `app` and `allow_downgrade` count. Raises OTAError
    with the record unchanged.
    """
    # One after the other: what a module needs while it is loaded is more than what it keeps.
    from .record import load_for_update

    boot_record = load_for_update()
    _check_kind(manifest, settings.get("app") or _running_app(boot_record.active))
    floor = boot_record.floor
    sequence = manifest.sequence
    if sequence < floor and not _may_go_back(manifest, settings):
        raise OTAError(_BELOW_FLOOR, "%d < %d" % (sequence, floor))
    if floor and sequence > floor + _MAX_JUMP:
        raise OTAError(_JUMP, "%d, from %d" % (sequence, floor))
    if sequence == boot_record.rejected:
        raise OTAError(_REJECTED, "sequence %d" % sequence)
    from .slots import make_room

    # Every file of a slot takes up whole blocks of 4 KiB.
    make_room(boot_record.active, manifest.total_bytes + 4096 * manifest.files)
    boot_record.sequence = sequence
    boot_record.size_bytes = size_bytes
    boot_record.digest = digest
    boot_record.store()
    log.info("update: %s %s verified and staged", manifest.name, manifest.version)


def _may_go_back(manifest, settings):
    return manifest.downgrade == "yes" and settings.get("allow_downgrade")


def _check_kind(manifest, app):
    if manifest.board not in ("", "esp8266"):
        raise OTAError(_WRONG_BOARD, manifest.board)
    if manifest.mpy not in ("", _MPY_VERSION):
        raise OTAError(_WRONG_BOARD, ".mpy version " + manifest.mpy)
    if app not in (None, "*", manifest.name):
        raise OTAError(_WRONG_APP, "%s, not %s" % (manifest.name, app))


def _running_app(active):
    # The name of the application in the active slot; None: there is none, or its manifest cannot be
    # read. ManifestReader would take up the room that is short now.
    if active is None:
        return None
    try:
        with open("/.ota/" + active + "/MANIFEST", "rb") as f:
            line = b"\n"
            while line.endswith(b"\n"):  # else it is the end, or longer than a line may be
                line = f.readline(_MAX_LINE)
                if line[:5] == b"name ":
                    return line[5:-1].decode()
    except (OSError, UnicodeError):
        pass
    return None
