"""Read datagrams to the ArduinoOTA listener; loaded for one that may be an invitation or a request.
Protocol: docs/SPEC.md.

RAM: about 1 KB while loaded.
"""

from micropython import const
from uselect import POLLIN, poll
from usocket import AF_INET, SOCK_DGRAM, socket
from utime import ticks_diff, ticks_ms

from .. import log

_ARDUINO = const(1)  # restart.ARDUINO

# The length of every request, and the limit of an answer. An answer is never longer than its
# request, so nobody can flood another host by sending requests in its name.
_REQUEST_BYTES = const(256)
_COMMANDS = (b"status", b"confirm", b"reject", b"revert")
_NO_PASSWORD = const("ERR: this board has no password, or only the MD5 of one: set password_sha256")


def listen(listener):
    """Open the UDP port of *listener*. Raises OSError when it is taken.

    In a boot of the services alone, the update that was kept over the restart begins.
    """
    ota = listener.ota
    port = ota.settings.get("port", 8266)
    udp = socket(AF_INET, SOCK_DGRAM)
    udp.setblocking(False)
    try:
        udp.bind(("", port))
        listener.poll = poll()
        listener.poll.register(udp, POLLIN)
    except Exception:
        udp.close()
        raise
    listener.socket = udp
    log.info("arduino: %s listens on port %d", ota.settings["hostname"], port)
    if not ota.has_password():
        log.info("arduino: no password is set: everyone on the network can update this board")
    if ota.kept and ota.kept[0] == _ARDUINO:  # the host has proved the password before the restart
        _, invitation, address = ota.kept
        ota.kept = None
        listener.begin_update(invitation, address)


def take(listener, data, address):
    """Handle the datagram *data* from *address*: an invitation, or a request as for the status.

    If the board has a password, the host is asked for it.
    """
    ota = listener.ota
    if data[:6] == b"MPOTA ":
        _take_request(listener, data, address)
    else:
        invitation = read_invitation(data)
        if invitation is None:
            pass
        elif ota.has_password():
            listener.next = "auth", (invitation, address)
        elif listener.pause_until is not None:
            wait_s = ticks_diff(listener.pause_until, ticks_ms()) // 1000 + 1
            text = "ERR: ERROR[33]: failed transfers, try again in %d s\n" % wait_s
            listener.send(text, address)
        else:
            listener.begin_update(invitation, address)
    if listener.next is None and listener.talk is None:
        ota.unload()


def _take_request(listener, data, address):
    # `MPOTA <command>`, or the same with the proof of the password.
    words = data.split(None, 4)
    if len(data) != _REQUEST_BYTES or len(words) not in (2, 4) or words[1] not in _COMMANDS:
        return
    command = words[1]
    get = listener.ota.settings.get
    if get("password") or get("password_sha256"):
        if len(words) == 2:
            listener.next = "auth", (command, address)
            return
        if not (listener.talk and listener.talk.takes(data, address)):
            return
        listener.forget()
    elif listener.ota.has_password() or command != b"status":
        listener.send(_NO_PASSWORD, address)
        return
    listener.next = "control", (command, address)


def read_invitation(data):
    """Return (command, TCP port, size, MD5, SHA-256) of an invitation; None if *data* is not one.

    An invitation is one line, `<command> <tcp port> <size> <md5>`; for the stronger handshake
    `2 <sha256>` follows. Anything else gets no answer, and neither does a port below 1024, where
    the host may have a service. The digests are text in hex; "" stands for a missing SHA-256.
    """
    words = data.split(None, 6)
    if not words or words[0] not in (b"0", b"100", b"101"):
        return None
    if len(words) == 6:
        if words[4] != b"2" or len(words[5]) != 64 or len(data) > 199:
            return None
    elif len(words) != 4 or len(data) > 99:
        return None
    if len(words[3]) != 32:
        return None
    for c in words[3] + words[-1]:
        if c not in b"0123456789abcdefABCDEF":
            return None
    if not (words[1].isdigit() and words[2].isdigit() and 1023 < int(words[1]) < 65536):
        return None
    sha256 = words[5].decode() if len(words) == 6 else ""
    return int(words[0]), int(words[1]), int(words[2]), words[3].decode(), sha256
