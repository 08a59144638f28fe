"""The restart into the services alone, for an update that has too little heap beside the
application; the invitation to the update is kept in RTC memory meanwhile.

The block's format is in docs/SPEC.md. RAM: about 600 bytes while loaded.
"""

import ustruct
from micropython import const
from ubinascii import hexlify, unhexlify
from uhashlib import sha256

from . import hal, log
from .errors import OTAError

# magic, version, kind, command, IP address, UDP port, TCP port, size, MD5, SHA-256
_FORMAT = const("<4sBBBx4sHHI16s32s")
_BODY = const(68)
_CHECK = const(8)
_VERSION = const(1)

# Kinds of updates that go on after the restart.
ARDUINO = const(1)
PAGE = const(2)  # an upload to the page, which its host begins again; only its address counts
PULL = const(3)  # a download from the setting update_url, for which the board asks again

_BEGIN_ERROR = const(1)  # the code of on_error
_VETOED = const(32)
_NOT_NOW = const(33)
_ON_TRIAL = const(34)

# The heap that an update needs beside the application, and how much more if the board has keys. In
# words, which have 4 bytes on the chip, since nearly all of the heap holds objects, which are made
# of words. Measured: with less, updates failed.
_UPDATE_WORDS = const(3300)
_SIGNED_WORDS = const(450)


def needed_heap():
    """Return how much free heap an update needs beside the application, in bytes."""
    words = _UPDATE_WORDS
    if hal.has_keys():
        words += _SIGNED_WORDS
    return words * ustruct.calcsize("P")


def note(outcome):
    """Write the outcome of an update to the boot record; the application was not running then."""
    from .record import load_for_update

    boot_record = load_for_update()
    boot_record.outcome = outcome
    boot_record.store()


def prepare(ota, service, kind, invitation=None, address=("0.0.0.0", 0)):
    """Let the next boot run the services alone, for the update that *service* is to take.

    Return whether it will: it does not if `restart_for_update` is false. The caller must have made
    sure that the host has proved a password; on a board without one, anybody could stop the
    application. The application's `on_start` is called first. Raises OTAError 32 if that refuses
    the update, 33 if updates are not allowed now, 34 during a trial.
    """
    if ota.trial:
        raise OTAError(_ON_TRIAL)
    if not ota.allows_updates():
        raise OTAError(_NOT_NOW)
    if ota.slot is None or not ota.settings.get("restart_for_update", True):
        return False
    # What needs memory is done first: once the application has made its equipment safe, the restart
    # must follow.
    keep(kind, invitation or (0, 0, 0, "0" * 32, "0" * 64), address)
    log.info("update: too little heap beside the application: it restarts without it")
    try:
        ota.call("start", service)
    except Exception as e:
        ota.call("error", service, _BEGIN_ERROR)
        hal.keep(b"")
        raise OTAError(_VETOED, str(e)[:40])
    hal.set_state(hal.get_state()[0], hal.ASKED)
    return True


def restart(ota, service, kind, invitation, address):
    """Restart for the update that *service* is to take, if the settings allow it; else return.

    Only for a host that has proved the password: see `prepare`.
    """
    if ota.has_password() and prepare(ota, service, kind, invitation, address):
        hal.reset()


def keep(kind, invitation, address):
    """Keep *invitation*, as arduino.read_invitation() returns it, and its host's UDP *address*.

    In a boot with the services alone, `take` returns both.
    """
    command, port, size, md5, image_sha256 = invitation
    body = ustruct.pack(
        _FORMAT,
        b"MPRT",
        _VERSION,
        kind,
        command,
        bytes([int(part) for part in address[0].split(".")]),
        address[1],
        port,
        size,
        unhexlify(md5),
        unhexlify(image_sha256),
    )
    hal.keep(body + sha256(body).digest()[:_CHECK])


def take():
    """Return (kind, invitation, address) as they were kept, only once; None if there are none.

    A block that is damaged or of another version counts as nothing.
    """
    data = hal.kept()
    hal.keep(b"")
    body = data[:_BODY]
    if sha256(body).digest()[:_CHECK] != data[_BODY : _BODY + _CHECK]:
        return None
    fields = ustruct.unpack(_FORMAT, body)
    if fields[0] != b"MPRT" or fields[1] != _VERSION:
        return None
    _, _, kind, command, ip, udp_port, tcp_port, size, md5, image_sha256 = fields
    image_sha256 = hexlify(image_sha256).decode() if any(image_sha256) else ""
    invitation = (command, tcp_port, size, hexlify(md5).decode(), image_sha256)
    return kind, invitation, (".".join([str(part) for part in ip]), udp_port)
