"""What happens when an ArduinoOTA update cannot begin: the host is told why, or the board restarts
to make room for the update. RAM: about 400 bytes while loaded.
"""

from micropython import const

from .. import log, restart
from ..errors import OTAError

_NO_MEMORY = const(14)


def begin(listener, invitation, address, problem):
    """Tell the host at *address* why its update does not begin, or restart to make room for it.

    *problem* is the exception that says why: a MemoryError if there is too little heap.
    """
    ota = listener.ota
    listener.forget()
    if isinstance(problem, MemoryError):
        # Short, since older tools read no more than 32 bytes of it.
        text = "ERROR[%d]: %d of %d bytes free" % (
            _NO_MEMORY,
            listener.free,
            restart.needed_heap(),
        )
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
        restart.note("failed: " + text)
