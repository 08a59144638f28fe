"""The headers in which a board tells a server about itself in each request: docs/SPEC.md.

Loaded until they are composed. RAM: about 1 KB while loaded, beside the record and the slots.
"""

import gc

import uos
from micropython import const
from ubinascii import b2a_base64, hexlify

from .. import hal, log, slots
from ..errors import OTAError
from ..record import load_for_update
from .resume import Place

_BLOCK_BYTES = const(1024)

# One long text, of which the compiler makes one object: each short one would cost 16 bytes of heap.
# It is filled in line by line, since a long piece of memory may not be there.
_HEADERS = const(
    b"User-Agent: ESP8266-http-Update\nConnection: close\nx-ESP8266-Chip-ID: %d\n"
    b"x-ESP8266-STA-MAC: %s\nx-ESP8266-AP-MAC: %s\nx-ESP8266-free-space: %d\n"
    b"x-ESP8266-sketch-size: %d\nx-ESP8266-sketch-md5: %s\nx-ESP8266-chip-size: %d\n"
    b"x-ESP8266-sdk-version: %s\nx-ESP8266-mode: %s\nx-mpota-name: %s\n"
    b"x-mpota-sequence: %d\nx-mpota-outcome: %s\nx-mpota-boots: %d\nx-mpota-heap: %d\n"
    b"x-mpota-uptime: %d\nx-mpota-rssi: %d\nx-mpota-takes: delta\n"
)

_NO_HTTP = const(-7)


def composing(session, start):
    """Write the headers of a request into the session's block, from its beginning on.

    *start* is the byte of the file from which on it is wanted; None: from where it was broken off.
    A generator whose value is that byte, and up to where the block has what goes to every server,
    and what goes to the session's own one alone. It tells *session* as well what runs, what is not
    taken again, which slot is idle, and what is kept of a download. Raises OTAError.
    """
    service = session.service
    ota = service.ota
    get = ota.settings.get
    boot_record = load_for_update()
    view = memoryview(session.block)[:_BLOCK_BYTES]
    if start is None:
        start = 0
        if session.mode == "sketch":
            session.place = Place(session.url, session.key)
            if session.place.position:
                yield from session.place.checking(slots.start(boot_record.idle), view)
            start = session.place.position
    active = boot_record.active
    manifest = {}
    if active:
        yield from _completing(boot_record, active, view)
        try:
            hal.flash_read(slots.start(active), view)
            manifest = slots.read_manifest(view)
        except OTAError as e:
            log.error("pull: slot %s: %s", active, e)
    running = manifest.get("sequence", 0)
    session.known = (running, boot_record.rejected)
    if session.is_check and boot_record.trial:  # it is verified, and tried after the next restart
        session.known += (boot_record.received[boot_record.trial][0],)
    session.slot = boot_record.idle
    version = session.version or (session.is_check and manifest.get("version"))
    _, size, md5 = boot_record.received[active or "a"]
    gc.collect()
    station, access_point = [hexlify(mac, ":").decode().upper() for mac in hal.macs()]
    values = (
        int(hal.chip_id(), 16),
        station,
        access_point,
        ota.free_space(),
        size,
        hexlify(md5).decode(),
        hal.flash_size(),
        uos.uname().release,
        session.mode,
        manifest.get("name", ""),
        running,
        _printable(boot_record.outcome),
        boot_record.attempts,
        gc.mem_free(),
        ota.uptime_s,
        ota.station.status("rssi"),
    )
    block = session.block
    at = begun = taken = 0
    while begun < len(_HEADERS):
        end = _HEADERS.find(b"\n", begun)
        line = _HEADERS[begun:end]
        begun = end + 1
        if b"%" in line:
            line = line % values[taken]
            taken += 1
        at = _put(block, at, line)
    # Asks the server for the rest of a file, or for nothing if the file has not changed.
    place = session.place
    if start:
        at = _put(block, at, b"Range: bytes=%d-" % start)
        at = _put(block, at, "If-Range: " + place.validator)
    elif place and place.sequence and place.sequence in session.known:
        name = "If-None-Match: " if place.validator[-1:] == '"' else "If-Modified-Since: "
        at = _put(block, at, name + place.validator)
    if version:
        at = _put(block, at, "x-ESP8266-version: " + version)
    if session.mode == "spiffs":
        from ..exchange import digest

        at = _put(block, at, "x-mpota-data: " + digest())
    shared = at
    for line in service.headers:
        at = _put(block, at, line)
    if session.token is not None:
        return start, shared, _put(block, at, session.token) if session.token else at
    basic = service.authorization
    if basic is None:
        user = get("update_user") if service.user is None else service.user
        password = get("update_password") if service.password is None else service.password
        if user:
            basic = b2a_base64("%s:%s" % (user, password or "")).decode().strip()
    if basic:
        at = _put(block, at, "Authorization: Basic " + basic)
    return start, shared, at


def _put(block, at, line):
    # Writes *line*, text or bytes, to *block* at *at*; returns where it ends.
    if isinstance(line, str):
        line = line.encode()
    if b"\n" in line or b"\r" in line:
        raise OTAError(_NO_HTTP, "a header has a line feed in it")
    end = at + len(line) + 2
    if end > len(block) - 2:  # an empty line is to follow
        raise OTAError(_NO_HTTP, "the headers are too long")
    block[at : end - 2] = line
    block[end - 2 : end] = b"\r\n"
    return end


def _printable(text):
    # The text may hold the message of an exception, and a line feed in it would end the header.
    return bytes([c if c >= 32 and c != 127 else 63 for c in text.encode()]).decode()


def _completing(boot_record, slot, buffer):
    # Has the MD5 of what was received into *slot* in the record: servers of old ask for it, but not
    # everybody who brings an image announces one. A generator.
    sequence, size, digest = boot_record.received[slot]
    if any(digest):
        return
    from ..md5 import md5

    start = slots.start(slot)
    if not size:
        hal.flash_read(start, buffer[:16])
        size = slots.romfs_bytes(buffer[:16]) + slots.FOOTER_BYTES
    digest = md5()
    for at in range(0, size, len(buffer)):
        count = min(len(buffer), size - at)
        hal.flash_read(start + at, buffer[: count + 3 & ~3])
        digest.update(buffer[:count])
        yield True
    received = boot_record.received[slot] = (sequence, size, digest.digest())
    # An update may have come to its end meanwhile, and have written the record.
    boot_record = load_for_update()
    if boot_record.active == slot:
        boot_record.received[slot] = received
        boot_record.store()
