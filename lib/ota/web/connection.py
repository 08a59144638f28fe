"""The connections to the update page: read and answer them, within limits. Loaded when one comes.

request.py reads the request; answers.py or upload.py answers it. RAM: about 1.4 KB while loaded,
and 1.2 KB for each connection that has sent something.
"""

import gc
import sys

import uerrno
from micropython import const
from ustruct import calcsize

from .. import log
from ..clock import after, is_past

# How many connections are open at a time, and how many of them are served.
_HELD = const(4)
_SERVED = const(2)
# The free heap, in words, that a connection beside an update needs.
_BESIDE_WORDS = const(1800)
# With less free heap than this, in words, an upload does not try to begin beside the application.
_UPLOAD_WORDS = const(2000)
# The longest header that is looked at, and the most that is sent at a time; and the same for a
# connection that is turned away.
_BUFFER_BYTES = const(512)
_SCRAP_BYTES = const(64)

# How long a connection may be silent.
_IDLE_MS = const(10000)
# How long, and how much, a refused client may continue to send, and how long it may pause; how long
# a client has to read the answer, and its end, before the board restarts.
_DRAIN_MS = const(5000)
_QUIET_MS = const(1000)
_REFUSED_BYTES = const(200000)
_LINGER_MS = const(1000)
_CLOSE_MS = const(200)

_STATUSES = const("""
200 OK
302 Found
303 See Other
400 Bad Request
401 Unauthorized
403 Forbidden
404 Not Found
405 Method Not Allowed
408 Request Timeout
409 Conflict
411 Length Required
413 Content Too Large
414 URI Too Long
422 Unprocessable Content
429 Too Many Requests
431 Request Header Fields Too Large
500 Internal Server Error
503 Service Unavailable
505 HTTP Version Not Supported
""")
_NO_MEMORY = const(
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
    b"Connection: close\r\n\r\n"
)
_HEAD = const(
    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n"
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n%s\r\n"
)


def _free_words():
    # Of 4 bytes on the chip: objects are made of words.
    gc.collect()
    return gc.mem_free() // calcsize("P")


def serve(web):
    """Take the connections that wait, and do for all of them what can be done now.

    This lasts for `step_ms`, or one piece of each. Return whether something was done.
    """
    for _ in web.poll.ipoll(0) if web.poll else ():
        try:
            _accept(web)
        except OSError:
            pass  # the client has gone already, or lwIP has no memory for the connection
    busy = False
    end = after(web.ota.settings.get("step_ms", 25))
    while web.session:
        busy = False
        for connection in list(web.session):
            busy = (connection.tcp and connection.step()) or busy
            if connection.tcp is None and connection in web.session:
                web.session.remove(connection)
        if not busy or is_past(end):
            break
    if not web.session:
        web.ota.unload()
    return busy


def _accept(web):
    if len(web.session) >= _HELD:
        # A connection that has sent nothing is closed for a new one: browsers open a spare one.
        spare = [held for held in web.session if held.buffer is None]
        if not spare:
            return
        spare[0].close()
        web.session.remove(spare[0])
    tcp, address = web.socket.accept()
    try:
        tcp.setblocking(False)
        web.session.append(Connection(web, tcp, address[0], b""))
    except Exception:
        tcp.close()
        raise


class Connection:
    """One connection, *tcp*, of the page *web*, and the one request that it brings.

    *address* is its client's IP address, *line* the bytes that were read already. The generators
    here yield whether they have done something.
    """

    # The buffer for everything that is read and sent; None until something has come.
    buffer = None
    filled = 0  # bytes of the body that are in the buffer, at its front
    left = 0  # bytes of the body that have not been read yet
    late_at = None  # when the body must have come, in ticks; None: there is no body
    is_served = False  # whether it counts as one of those that are served
    is_reading = False  # whether its request is being read
    is_proved = False  # whether the client has proved the password
    is_upload = False  # whether it brings an update, and the client may bring one
    is_updating = False  # whether the update has begun
    # What the request asks for: whether the answer must be JSON, and whether only its head.
    wants_json = is_head = False
    _is_closing = _is_refused = False

    def __init__(self, web, tcp, address, line):
        self.web = web
        self.tcp = tcp  # None when it is closed
        self.address = address
        self._idle_at = after(_IDLE_MS)
        self._steps = self._run(line)

    def step(self):
        """Do one piece of work; return False when there is nothing to do but wait."""
        try:
            busy = next(self._steps)
            if not self._is_closing:
                return busy
        except StopIteration:
            pass
        except OSError:
            pass  # the client has gone, or is too slow
        except MemoryError:
            if self.is_upload and not self.is_updating:
                self.is_upload = False  # this is tried only once
                self._steps = self._restart()
                return True
            if not self.web.is_short:  # said once
                self.web.is_short = True
                log.error("web: no memory for a request")
            if self._say_no():
                return True
        except Exception as e:
            sys.print_exception(e)
        self.close()
        return False

    def _say_no(self):
        # Returns whether the client was told so, once, and gets time to read it.
        if self._is_refused:
            return False
        self._is_refused = True
        self.is_served = self.is_reading = False
        try:
            self.tcp.write(_NO_MEMORY)
            self.buffer = self.buffer or bytearray(_SCRAP_BYTES)
            self._steps = self.drain()
        except (OSError, MemoryError):
            return False
        return True

    def close(self):
        """Close it; an update that it brings is discarded."""
        self._is_closing = True
        try:
            self._steps.close()
        except ValueError:
            return  # called by a callback of this update: `step` closes it afterwards
        if self.is_updating:
            self.web.is_updating = False
        self.tcp.close()
        self.tcp = None

    def _run(self, line):
        if not line:
            line = bytearray(1)
            while True:
                n = self.tcp.readinto(line)
                if n:
                    break
                if n == 0 or is_past(self._idle_at):
                    return
                yield False
        self.left = _REFUSED_BYTES
        if self.web.ota.updater and _free_words() < _BESIDE_WORDS:
            self.buffer = bytearray(_SCRAP_BYTES)
            yield from self.send(_NO_MEMORY)  # what there is belongs to the update
        elif sum([connection.is_served for connection in self.web.session]) < _SERVED:
            self.is_served = True
            self.buffer = bytearray(_BUFFER_BYTES)
            yield from self._serve(line)
        else:
            self.buffer = bytearray(_SCRAP_BYTES)
            yield from self.say(503, "others are being served; try again", "Retry-After: 1\r\n")
        yield from self.drain()

    def _serve(self, line):
        # In stages: the modules of each are loaded when those of the one before were unloaded, so
        # that a request needs little heap. They are unloaded in the next step, since they are in
        # use until then.
        from .request import read

        self.is_reading = True
        answer, arguments, proof = yield from read(self, line)
        read = None
        yield True
        self._unload("ota.web.request", "ota.http")
        if proof:
            refusal = yield from self._prove(*proof)
            yield True
            self._unload("ota.web.auth")
            if refusal:
                answer, arguments = "say", refusal
        self.is_reading = False
        if answer == "say":
            yield from self.say(*arguments)
        elif answer == "receive":
            yield from self._receive(arguments)
        else:
            module, name = answer.split(".")
            module = __import__("ota.web." + module, globals(), None, (name,))
            yield from getattr(module, name)(self, *arguments)
        self.web.is_short = False

    def _unload(self, *modules):
        if not any(other.is_reading for other in self.web.session if other is not self):
            self.web.ota.unload(*modules)

    def _prove(self, method, target, value):
        # Returns the answer if the password is needed and was not proved.
        from .auth import admit

        refusal, proofs = yield from admit(self, value)
        if refusal or not proofs:
            return refusal
        admit = None
        yield True
        self._unload("ota.web.auth")
        from .credentials import check

        proof = check(self.web.ota.settings.get, proofs, method, target, value)
        check = None
        yield True
        self._unload("ota.web.credentials", "ota.web.parameter")
        from .auth import judge

        return judge(self, proofs, proof)

    def _receive(self, arguments):
        ota = self.web.ota
        if ota.is_updating:
            yield from self.say(409, "Update error: ERROR[15]: Update already running")
            return
        self.is_upload = True
        # Unloads modules that another connection may have loaded, and that no update needs.
        ota.unload(
            "ota.web.answers",
            "ota.web.report",
            "ota.web.act",
            "ota.status",
            "ota.trial",
            "ota.restart",
        )
        if _free_words() < _UPLOAD_WORDS:
            raise MemoryError  # the modules loaded for it would leave their names in the heap
        from .upload import receive

        yield from receive(self, *arguments)

    def _restart(self):
        # The heap is too full for the update. This is a step of its own, since the modules of the
        # last step were in use until its end.
        yield True
        self.web.ota.unload(
            "ota.web.upload", "ota.web.form", "ota.web.parameter", "ota.pause", "ota.slots",
            "ota.record", "ota.updater.verify", "ota.updater.signature", "ota.updater",
        )  # fmt: skip
        from .restart import restart

        yield from restart(self)
        yield from self.drain()

    def readinto(self, view):
        """Read a part of the body into *view*; return its size, None if nothing came, 0 at the end.

        The bytes that are already in the buffer are not read again. Raises OSError when the client
        has gone, or is too slow.
        """
        if self.left < len(view):
            view = view[: self.left]
        if not len(view):
            return 0
        n = self.tcp.readinto(view)
        if n:
            self.left -= n
            self._idle_at = after(_IDLE_MS)
        elif n == 0:
            raise OSError(uerrno.ECONNRESET)
        if is_past(self._idle_at) or is_past(self.late_at):
            raise OSError(uerrno.ETIMEDOUT)
        return n

    def say(self, status, text, headers=""):
        """Answer *text*, in JSON if the client wants that; *headers* are whole lines."""
        kind = "text/plain; charset=utf-8"
        if self.wants_json:
            from ujson import dumps

            kind = "application/json"
            text = dumps({"ok": status < 300, "text": text})
        return self.answer(status, text + "\n", kind, headers)

    def answer(self, status, body, kind, headers=""):
        """Answer *body*, text, bytes or an open file, which is closed, of the type *kind*."""
        if isinstance(body, str):
            body = body.encode()
        is_file = hasattr(body, "readinto")
        size = body.seek(0, 2) if is_file else len(body)
        at = _STATUSES.find("\n%d " % status) + 1
        status = _STATUSES[at : _STATUSES.find("\n", at)]
        yield from self.send(_HEAD % (status, kind, size, headers))
        if self.is_head:
            size = 0
        if is_file:
            body.seek(0)
            try:
                view = memoryview(self.buffer)
                while size > 0:
                    n = body.readinto(view)
                    yield from self.send(view[:n])
                    size -= n
            finally:
                body.close()
        elif size:
            yield from self.send(body)

    def send(self, data):
        """Send *data*, text, bytes or memoryview."""
        view = memoryview(data)
        self._idle_at = after(_IDLE_MS)
        while len(view):
            n = self.tcp.write(view)
            if n:
                view = view[n:]
                self._idle_at = after(_IDLE_MS)
            elif is_past(self._idle_at):
                raise OSError(uerrno.ETIMEDOUT)
            yield bool(n)

    def drain(self):
        """Read the rest that the client sends. Never raises.

        Closing a connection with unread bytes resets it, and the client may lose the answer.
        """
        self.late_at = after(_DRAIN_MS)
        quiet_at = after(_QUIET_MS)
        try:
            while not is_past(quiet_at):
                n = self.readinto(memoryview(self.buffer))
                if n == 0:
                    return
                if n:
                    quiet_at = after(_QUIET_MS)
                yield bool(n)
        except OSError:
            return  # the client has gone, or is too slow

    def linger(self):
        """Give the client time to read the answer, before the board restarts. Never raises."""
        try:
            late_at = after(_LINGER_MS)
            while not is_past(late_at) and self.tcp.readinto(self.buffer) != 0:
                yield False
        except OSError:
            return  # the client has gone
        self.tcp.close()
        late_at = after(_CLOSE_MS)
        while not is_past(late_at):
            yield False
