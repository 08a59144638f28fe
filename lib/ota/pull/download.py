"""Install the image that a server's reply brings, or the rest of one that was interrupted; loaded
when there is one.

RAM: about 1.5 KB while loaded, beside the Updater's.
"""

from micropython import const

from .. import hal, log, slots
from ..clock import after, is_past
from ..errors import OTAError
from .body import reading
from .resume import STEP_BYTES

# The longest time of a download in multiples of the service's `timeout_ms`, to which 1 ms is added
# for each byte. An interrupted download continues after this part of `timeout_ms`, then after twice
# that, and so on; and how often this may happen in a row without a sector's worth of progress.
_GRACE = const(8)
_AGAIN_PART = const(8)
_MOST_AGAIN = const(3)
_PROGRESS_BYTES = const(4096)

# The first bytes of an image, which hold the MANIFEST of most images.
_SHORT_HEAD_BYTES = const(256)
_BLOCK_BYTES = const(1024)

_GZIP = const(b"\x1f\x8b")

_U_FLASH = const(0)
_U_FS = const(100)

_NO_SPACE = const(-100)
_NO_SIZE = const(-101)
_WRONG_CODE = const(-104)
_BAD_MD5 = const(-105)
_WRONG_MAGIC = const(-106)
# Errors of the connection: after these, the rest is asked for.
_BROKEN = const((-1, -5, -11))


def installing(session):
    """Install the image that the server of *session* sends; a generator whose value is the result.

    Raises OTAError.
    """
    service = session.service
    if session.start < 0:
        raise OTAError(_WRONG_CODE, "HTTP %d" % session.status)
    if session.size == 0:
        raise OTAError(_NO_SIZE)
    if session.size is not None and session.size > _space(session):
        raise OTAError(_NO_SPACE, "%d bytes" % session.size)
    head = None
    if session.place:
        head, sequence = yield from _judge(session)
        if sequence:
            session.is_news = False
            session.sequence = sequence
            _mark(session)
            return service.NO_UPDATES
        if session.start:
            head = None  # it is in the slot
        else:
            session.place.begin(session.validator if session.size else "", session.size or 0)
    session.is_news = True
    updater = _begin(session, head)
    head = None
    yield from _receive(session, updater)
    for _ in updater.ending(session.size is None):
        yield True
    if session.place:
        from ..record import load_for_update

        session.sequence = load_for_update().received[updater.slot][0]
        _mark(session)
    return service.OK


def _mark(session):
    # Notes which release the server's file is.
    place = session.place
    validator = session.validator
    sequence = session.sequence
    if validator and (place.validator, place.sequence, place.position) != (validator, sequence, 0):
        place.begin(validator, 0, sequence)
        place.store()


def _judge(session):
    # Looks at the beginning of the image, which is in the slot if the download goes on. A generator
    # whose value is what has come of it, and the sequence of the release if that runs already or is
    # not taken again, else 0.
    head = memoryview(b"")
    sequence = filled = 0
    for size in (_SHORT_HEAD_BYTES, slots.HEAD_BYTES):
        before, head = head, memoryview(bytearray(size))
        head[:filled] = before[:filled]
        before = None
        if session.start:
            hal.flash_read(slots.start(session.slot), head)
            filled = size
        while filled < size:
            n = yield from reading(session, head[filled:])
            if not n:
                break
            filled += n
            yield True  # the body may come in chunks of one byte
        if not _may_be_image(head):
            if session.is_check:
                raise OTAError(_WRONG_MAGIC)
            break
        try:
            sequence = slots.read_manifest(_unpacked(session, head[:filled]))["sequence"]
            break
        except OTAError:
            pass  # it is longer; or bad, which the Updater says
    if sequence not in session.known:
        sequence = 0
    return head[:filled], sequence


def _space(session):
    # Returns how many bytes the server's file may have.
    if session.mode == "sketch":
        return session.service.ota.free_space()
    from ..data import free_space

    # A tar needs twice its size, as long as it is unpacked.
    return free_space() if session.size else free_space() // 2


def _may_be_image(head):
    return slots.romfs_bytes(head) or bytes(head[:2]) == _GZIP


class _Head:
    # What unpacking needs of an Updater, and holds the beginning of what comes out.
    expected_sha256 = signature = md5_state = None
    stored = filled = 0

    def __init__(self, slot):
        self.slot = slot
        self.pages = memoryview(bytearray(_BLOCK_BYTES))

    def gather(self, data):
        count = min(len(data), _BLOCK_BYTES - self.filled)
        self.pages[self.filled : self.filled + count] = data[:count]
        self.filled += count

    def flush(self):
        raise ValueError  # it is enough


def _unpacked(session, head):
    # What is in *head*, of a gzip what comes out of it.
    if bytes(head[:2]) != _GZIP:
        return head
    from ..updater.inflate import Unpacker

    made = _Head(session.slot)
    try:
        for _ in Unpacker(made).writing(head):
            pass
    except (ValueError, OTAError):
        pass
    return made.pages[: made.filled]


def _begin(session, head):
    # Begins the update, of which *head* has come already, or None; returns the Updater.
    from ..updater import Updater

    service = session.service
    updater = session.updater = Updater(service.ota, service)
    try:
        if service.md5 or session.md5:
            updater.set_md5(service.md5 or session.md5)
    except OTAError:
        raise OTAError(_BAD_MD5)
    if session.sha256:
        updater.set_sha256(session.sha256)
    size = session.size or _space(session)
    updater.begin(size, _U_FLASH if session.mode == "sketch" else _U_FS, session.start)
    service.ota.call("progress", service, session.start, size)
    if service.close_connections:
        service.close_connections()
    if head is not None:
        if not _may_be_image(head):
            raise OTAError(_WRONG_MAGIC)
        updater.write(head)
    session.end = after(_GRACE * service.timeout_ms + size)
    return updater


def _receive(session, updater):
    # Writes what comes to *updater*. A connection that breaks is opened again, and the server asked
    # for the rest, where it says what tells a file from another. A generator.
    place = session.place
    if place and not place.may_resume():
        place = None
    failures = 0
    while True:
        before = updater.progress
        try:
            if session.tcp is None:
                yield from session.asking(before)
                if session.start != before:
                    raise OTAError(_WRONG_CODE, "HTTP %d, not the rest" % session.status)
            yield from _copy(session, updater, place)
            return
        except OTAError as e:
            if e.code not in _BROKEN or is_past(session.end) or place is None:
                raise
            failures = 0 if updater.progress - before >= _PROGRESS_BYTES else failures + 1
            if failures > _MOST_AGAIN:
                raise
            log.info("pull: broken off after %d bytes: %s", updater.progress, e.detail)
        session.close_tcp()
        deadline = after(session.service.timeout_ms // _AGAIN_PART << failures)
        while not is_past(deadline):
            yield False


def _copy(session, updater, place):
    service = session.service
    led = service.led_pin
    while updater.remaining:
        n = yield from reading(
            session, updater.buffer[: min(len(updater.buffer), updater.remaining)]
        )
        if not n:
            return
        if led is not None:
            hal.set_pin(led, service.led_on)
        for _ in updater.writing(updater.buffer[:n]):
            yield True
        if led is not None:
            hal.set_pin(led, 1 - service.led_on)
        if place and updater.programmed - place.position >= STEP_BYTES:
            yield from place.advance(slots.start(session.slot), updater.buffer[:_BLOCK_BYTES])
            place.store()
        yield True
