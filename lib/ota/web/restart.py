"""The restart into the services alone, for an upload that has too little heap beside the
application. Loaded for this only.
"""

import gc

from .. import hal, log
from ..errors import OTAError
from ..restart import PAGE, needed_heap, prepare


def restart(connection):
    """Answer that the heap is too full; restart if the client has proved the password.

    The client is told to try again after the restart. A generator.
    """
    web = connection.web
    text = "%d of %d bytes free" % (gc.mem_free(), needed_heap())
    headers = ""
    try:
        address = (connection.address, 0)
        is_ready = connection.is_proved and prepare(web.ota, web, PAGE, address=address)
    except OTAError as e:
        yield from connection.say(403, "Update error: %s" % e)
        return
    try:
        if is_ready:
            text += "; the board restarts to make room, try again in 10 s"
            headers = "Retry-After: 10\r\n"
        error = OTAError(14, text)
        log.error("web: %s", error)
        yield from connection.say(503, "Update error: %s" % error, headers)
        if is_ready:
            yield from connection.drain()
            yield from connection.linger()
    finally:  # even when the client has gone: the application has made its equipment safe
        if is_ready:
            hal.reset()
