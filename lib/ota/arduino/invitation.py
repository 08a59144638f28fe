"""What a datagram asks the ArduinoOTA listener for; loaded when one may be an invitation or a
request. Protocol: docs/SPEC.md.

RAM: about 1 KB while loaded.
"""

import gc
import sys

import ustruct
from micropython import const
from uselect import POLLIN, poll
from usocket import AF_INET, SOCK_DGRAM, socket
from utime import ticks_diff, ticks_ms

from .. import log
from ..errors import OTAError

_NO_MEMORY = const(14)

# With less free heap than this, in words as in restart.py, an update does not even try to begin
# beside the application: what is loaded for it would leave its names behind.
_LEAST_WORDS = const(2500)

# As long as every request must be, and as an answer may be: nobody can be flooded by asking in the
# name of another.
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
    if ota.kept:  # its host has proved itself before the restart
        _, invitation, address = ota.kept
        ota.kept = None
        begin_update(listener, invitation, address)


def take(listener, data, address):
    """Take the datagram *data* from *address*: an invitation, or a request such as for the status.

    Whoever has a password to prove is asked for it.
    """
    ota = listener.ota
    if data[:6] == b"MPOTA ":
        _take_request(listener, data, address)
    else:
        invitation = read_invitation(data)
        if invitation is None:
            pass
        elif ota.has_password():
            from .auth import begin_talk

            begin_talk(listener, invitation, address)
        else:
            begin_update(listener, invitation, address)
    if listener.session is None and listener.talk is None:
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
            from .auth import begin_talk

            begin_talk(listener, command, address)
            return
        if not (listener.talk and listener.talk.takes(data, address)):
            return
        listener.forget()
    elif listener.ota.has_password() or command != b"status":
        listener.send(_NO_PASSWORD, address)
        return
    from .control import answer

    answer(listener, command, address)


def begin_update(listener, invitation, address):
    """Let the update begin that the host at *address* has announced, and may bring."""
    listener.forget()
    if listener.pause_until is not None:
        wait_s = ticks_diff(listener.pause_until, ticks_ms()) // 1000 + 1
        text = "ERR: ERROR[33]: failed transfers, try again in %d s\n" % wait_s
        listener.send(text, address)
        return
    free = gc.mem_free()
    listener.announced = invitation, address, free
    if free < _LEAST_WORDS * ustruct.calcsize("P") and "ota.updater" not in sys.modules:
        listener.problem = MemoryError()


def refuse(listener, problem, invitation, address, free):
    """Tell the host at *address* why its update does not begin, or restart to make room for it.

    *problem* is the exception that says why, *free* how many bytes of heap were free.
    """
    ota = listener.ota
    listener.forget()
    if isinstance(problem, MemoryError):
        from .. import restart

        # Short, since older tools read no more than 32 bytes of it.
        text = "ERROR[%d]: %d of %d bytes free" % (_NO_MEMORY, free, restart.needed_heap())
        try:
            restart.restart(ota, listener, restart.ARDUINO, invitation, address)
            log.error("arduino: out of memory: there is too little heap for an update")
        except OTAError as e:
            text = str(e)
    elif isinstance(problem, OSError):  # lwIP has no memory for another socket
        text = str(OTAError(_NO_MEMORY, str(problem)))
    else:
        text = str(problem)
    log.error("arduino: refused: %s", text)
    listener.send("ERR: %s\n" % text, address)
    if ota.is_alone:
        from ..restart import note

        note("failed: " + text)


def read_invitation(data):
    """Return (command, TCP port, size, MD5, SHA-256) of the invitation *data*; None: it is none.

    It is `<command> <tcp port> <size> <md5>` in one line, for the stronger handshake followed by
    `2 <sha256>`; anything else, or a port that a service of the host's own may have, gets no
    answer. The digests are text in hex; "" where there is no SHA-256.
    """
    if data[:2] != b"0 " and data[:4] != b"100 ":
        return None
    words = data.split(None, 6)
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
