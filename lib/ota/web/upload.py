"""An update that a browser, curl or mpota posts to the page; loaded when one is posted. Protocol:
docs/SPEC.md.

RAM: about 1 KB while loaded, beside the Updater's.
"""

import gc

from micropython import const

from .. import hal, log
from ..errors import OTAError
from ..updater import Updater

_U_FLASH = const(0)
_U_FS = const(100)
_U_FS_TIED = const(101)

# Codes of on_error, as in ArduinoOTA.h.
_BEGIN_ERROR = const(1)
_RECEIVE_ERROR = const(3)
_END_ERROR = const(4)
_SUCCEEDED = const(0)

_STREAM_TIMEOUT = const(6)
_NO_MEMORY = const(14)
_NOT_NOW = const(33)

# The words of Arduino's ESP8266HTTPUpdateServer, which scripts look for.
_SUCCESS = const("Update Success! Rebooting...")
_REFRESH = const('<META http-equiv="refresh" content="15;URL=/update">')
_LATER = const("Update Success! It is tried after the next restart.")
_FAILURE = const("Update error: %s")

# Each line: an HTTP status, and the numbers of its errors. All other errors, of the image, have
# 422.
_STATUSES = const("400 5 13 16\n403 32 33\n408 6\n409 15 34\n413 4\n500 1 2 3\n503 14")
_BAD_IMAGE = const(422)


def receive(connection, query, fields):
    """Take the update in the body of a request, which may be a form; answer; restart.

    A generator. Raises MemoryError where the heap is too full to begin.
    """
    web = connection.web
    ota = web.ota
    if ota.kept and ota.kept[2][0] != connection.address:
        text = "the board waits for the upload of another host"
        yield from connection.say(503, text, "Retry-After: 60\r\n")
        return
    pause_s = 0
    if not connection.is_proved and ota.arduino.pause_until is not None:
        from ..pause import left_s

        pause_s = left_s(ota.arduino)
    if pause_s:
        error = OTAError(_NOT_NOW, "failed transfers, try again in %d s" % pause_s)
        yield from connection.say(503, _FAILURE % error, "Retry-After: %d\r\n" % pause_s)
        return
    updater = Updater(ota, web)
    stage = _BEGIN_ERROR
    error = form = None
    try:
        command = _expect(updater, query, fields)
        size = connection.filled + connection.left
        kind = fields.get(b"content-type", b"")
        if kind.lower().startswith(b"multipart/form-data"):
            from .form import Form, is_too_large

            form = Form(connection, kind)
            if not is_too_large(size):
                yield from _go_on(connection, fields)
                command = yield from form.find()
                size = form.image_bytes(command)
        if command is None:
            yield from connection.say(303, "no file was chosen", "Location: /update\r\n")
            return
        updater.begin(size, command)
        connection.is_updating = web.is_updating = True
        stage = _RECEIVE_ERROR
        if form:
            yield from form.receive(updater)
            form = None  # the form has used the Updater's block, which must have only one owner
        else:
            yield from _go_on(connection, fields)
            yield from _receive(connection, updater)
        stage = _END_ERROR
        for _ in updater.ending(True):
            yield True
        stage = _SUCCEEDED
    except MemoryError:
        error = OTAError(_NO_MEMORY)
    except Exception as e:  # the application must be told of any error
        error = e
    except GeneratorExit:  # the application has closed the page
        if connection.is_updating:
            web.ota.call("error", web, stage)
        raise
    finally:
        # Also when the connection is closed in the middle. After success it does nothing.
        updater.abort(_STREAM_TIMEOUT)
        if updater.has_started:
            _note(ota.arduino, connection.is_proved or stage == _SUCCEEDED)
    if error is None:
        yield from _succeed(connection)
    elif getattr(error, "code", 0) == _NO_MEMORY and not updater.has_started:
        raise MemoryError  # the connection handles this
    else:
        yield from _fail(connection, updater, stage, error)


def _note(listener, is_good):
    # For the pause after failed transfers. That the update has ended is told even without this.
    try:
        from ..pause import note

        note(listener, is_good)
    except MemoryError as e:
        log.error("web: %r", e)


def _expect(updater, query, fields):
    # Takes the announced digests from the headers, or from the address, which Digest proves.
    # Returns the command.
    command = _U_FLASH
    md5 = fields.get(b"x-md5")
    sha256 = fields.get(b"x-sha256")
    is_proved = False
    for part in query.split(b"&"):
        if part[:7] == b"sha256=":
            sha256 = part[7:]
            is_proved = bool(sha256)
        elif part[:4] == b"md5=":
            md5 = part[4:]
        elif part == b"data":
            command = _U_FS
        elif part == b"data=tied":
            command = _U_FS_TIED
    if md5:
        updater.set_md5(md5.decode())
    if sha256:
        updater.set_sha256(sha256.decode())
    if not is_proved and updater.ota.settings.get("auth", "classic") != "classic":
        raise OTAError(_NOT_NOW, "strict: post to /update?sha256= and the SHA-256 of the image")
    return command


def _go_on(connection, fields):
    if fields.get(b"expect", b"").lower() == b"100-continue":
        yield from connection.send("HTTP/1.1 100 Continue\r\n\r\n")


def _receive(connection, updater):
    # The body is the image and nothing else.
    if connection.filled:
        for _ in updater.writing(memoryview(connection.buffer)[: connection.filled]):
            yield True
    while updater.remaining:
        if not updater.is_running:  # a callback has ended it
            raise OTAError(updater.error)
        n = connection.readinto(updater.buffer)
        if n:
            for _ in updater.writing(updater.buffer[:n]):
                yield True
        yield bool(n)


def _succeed(connection):
    ota = connection.web.ota
    reboots = ota.is_alone or ota.settings.get("reboot_on_success", True)
    reboots = reboots and not ota.has_staged_data
    ota.kept = None  # the upload that this boot may have waited for
    try:
        if connection.wants_json or not reboots:
            yield from connection.say(200, _SUCCESS if reboots else _LATER)
        else:
            html = "text/html; charset=utf-8"
            yield from connection.answer(200, _REFRESH + _SUCCESS + "\n", html)
        if reboots:
            yield from connection.linger()
    except OSError as e:
        log.error("web: the client is gone: %s", e)
    finally:  # even when the application closes the page meanwhile
        ota.call("end", connection.web)
    if reboots:
        log.info("web: restart")
        hal.reset()
    connection.is_updating = connection.web.is_updating = False


def _fail(connection, updater, stage, error):
    # Tells the log, the client and the application why the update has ended.
    ota = connection.web.ota
    gc.collect()
    log.error("web: %s", error)
    is_refused = isinstance(error, OTAError)  # else the connection was lost
    try:
        if ota.is_alone:
            from ..restart import note

            note("failed: %s" % error)
        if is_refused:
            yield from connection.say(_status(error.code), _FAILURE % error)
            if ota.is_alone:
                yield from connection.drain()
                yield from connection.linger()
    finally:  # even when the client has gone
        if updater.has_started:
            ota.call("error", connection.web, stage)
        if ota.is_alone and is_refused:
            log.info("web: restart with the application")
            hal.reset()


def _status(code):
    for line in _STATUSES.split("\n"):
        numbers = line.split(" ")
        if str(code) in numbers[1:]:
            return int(numbers[0])
    return _BAD_IMAGE
