"""Tell why a question to a server has failed: the log, the application, and the next boot; loaded
when one has failed.

RAM: about 500 bytes while loaded.
"""

import gc
import sys

from micropython import const

from .. import log
from ..errors import OTAError
from ..hal import reset

_WRITE_FAILED = const(1)
_STREAM_TIMEOUT = const(6)
_NO_MEMORY = const(14)
_NO_RAM = const(-8)
_MOST_FAILURES = const(2)  # in a row, before a full heap costs the application a restart
# After these errors, the received part of a download is still good.
_KEPT = const((-1, -5, -7, -8, -11, 6, 14))

# Of ESP8266httpUpdate.h and ESP8266HTTPClient.h of the Arduino core.
_TEXTS = const("""
-1 HTTP error: connection failed
-5 HTTP error: connection lost
-7 HTTP error: no HTTP server
-8 HTTP error: not enough ram
-9 HTTP error: Transfer-Encoding not supported
-11 HTTP error: read Timeout
-100 Not Enough space
-101 Server Did Not Report Size
-102 File Not Found (404)
-103 Forbidden (403)
-104 Wrong HTTP Code
-105 Wrong MD5
-106 Verify Bin Header Failed
-108 Unauthorized (401)
-109 Server Did Not Report Version
-110 Not an answer of hawkBit
-111 Not a deployment for this board
""")


def failed(session, e, has_started):
    """Tell the application that *session* has failed by *e*; return the number and a text.

    *has_started* is whether there was an update that had begun. Where there was too little heap for
    it beside the application, the board restarts for it, if it may.
    """
    service = session.service
    ota = service.ota
    if isinstance(e, MemoryError):
        e = OTAError(_NO_MEMORY if session.is_news else _NO_RAM)
    elif not isinstance(e, OTAError):
        sys.print_exception(e)
        e = OTAError(_WRITE_FAILED, repr(e))
    if e.code == _NO_MEMORY and not has_started:
        e = _restart(service, session.is_check and service.url is None)
    place = session.place
    if has_started and place and e.code not in _KEPT and (place.position or place.sequence):
        place.begin()
        place.store()
    text = _words(e)
    if ota.is_alone:
        from ..restart import note

        note("failed: " + text)
        if place:
            place.failures += 1
            place.store()
    if has_started:
        ota.call("error", service, e.code)
    else:
        _call_on_error(service, e.code)
    return e.code, text


def too_full(service):
    """Note that the heap is too full for *service*, an HTTPUpdate, even to ask.

    At the third failure in a row the services ask alone after a restart, if they may: before, the
    heap may have been full for a moment only.
    """
    is_lasting = service.failures >= _MOST_FAILURES
    e = _restart(service, True) if is_lasting else OTAError(_NO_RAM)
    _call_on_error(service, e.code)
    service.finish(service.FAILED, e.code, _words(e))


def _call_on_error(service, code):
    if service.error_callback:
        try:
            service.error_callback(code)
        except Exception as problem:
            log.error("on_error raised %r", problem)


def _restart(service, may_restart):
    # Returns the error, if the board does not restart into the services alone.
    from .. import restart

    free = gc.mem_free()
    if may_restart:
        try:
            if restart.prepare(service.ota, service, restart.PULL):
                reset()
        except OTAError as refusal:
            return refusal
    return OTAError(_NO_MEMORY, "%d of %d bytes free" % (free, restart.needed_heap()))


def _words(e):
    # The words for an error, as Arduino has them.
    if e.code >= 0:
        return "Update error: %s" % e
    start = _TEXTS.find("\n%d " % e.code)
    line = _TEXTS[start + 1 : _TEXTS.find("\n", start + 1)]
    text = line[line.find(" ") + 1 :]
    return text + ": " + e.detail if e.detail else text
