"""Releases: an uploaded image is read and checked before the server keeps it."""

import hashlib
import re
import time
import zlib
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.orm import Session

from mpota import image
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.errors import CommandError
from mpota.image import data as data_images
from mpota.image import signature, trailer
from mpota.image.manifest import LABEL_LIMIT, SEQUENCE_LIMIT
from mpota.server.database import APPLICATION, DATA, SKETCH, Blob, Release
from mpota.server.errors import ConflictError
from mpota.server.images import ImageDirectory

SKETCH_LIMIT_BYTES = 4 << 20  # the largest flash of ESP8266 boards
_SKETCH_MAGIC = b"\xe9"
_GZIP_MAGIC = b"\x1f\x8b"
_LABEL = re.compile(rf"[!-~]{{1,{LABEL_LIMIT}}}")


@dataclass(frozen=True)
class Described:
    """What an uploaded file is; `content` is what is in it where it is compressed.

    `data_sha256` is as in database.Release.
    """

    application: str
    version: str
    sequence: int
    kind: str
    downgrade: bool
    signed_by: str
    encoding: str
    content: bytes
    data_sha256: str = ""


def fingerprint(key: RSAPublicKey) -> str:
    """Return the name of a public key: the first 16 hex digits of its SHA-256."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def describe(
    data: bytes,
    keys: list[RSAPublicKey],
    *,
    application: str = "",
    version: str = "",
    sequence: int = 0,
) -> Described:
    """Read an uploaded file.

    Application, version and sequence are for a sketch and for data, which do not say theirs. With
    *keys*, the file must be signed with one of them. Raises CommandError.
    """
    encoding, content = "", data
    if data.startswith(_GZIP_MAGIC):
        encoding, content = "gzip", _unpacked(data)
    data_sha256 = ""
    if content.startswith(_SKETCH_MAGIC):
        kind, downgrade = SKETCH, True
        _check_labels("a sketch", application, version, sequence)
    elif data_images.is_data(content) and not image.is_old(content):
        kind, downgrade = DATA, True
        data_sha256 = data_images.read(content).sha256
        _check_labels("a data image", application, version, sequence)
    else:
        manifest = image.read(content).manifest
        kind, downgrade = APPLICATION, manifest.downgrade
        data_sha256 = manifest.data or ""
        for what, given, own in (
            ("application", application, manifest.name),
            ("version", version, manifest.version),
        ):
            if given and given != own:
                raise CommandError(
                    f"the image says that its {what} is {own}, and not {given}: leave that out"
                )
        application, version, sequence = manifest.name, manifest.version, manifest.sequence
        if len(content) > IMAGE_LIMIT_BYTES:
            raise CommandError(
                f"the image has {len(content)} bytes, and a board's slot takes "
                f"{IMAGE_LIMIT_BYTES}: make it smaller"
            )
    signed_by = _signer(data, keys) if keys else ""
    return Described(
        application, version, sequence, kind, downgrade, signed_by, encoding, content, data_sha256
    )


def add(
    session: Session,
    images: ImageDirectory,
    data: bytes,
    described: Described,
    *,
    channel: str,
    notes: str = "",
) -> Release:
    """Keep the file, then the release of it.

    Raises ConflictError where the application has a release of that sequence or version.
    """
    # Data have versions and sequences apart from those of their application.
    of_kind = Release.kind == DATA if described.kind == DATA else Release.kind != DATA
    sequence = described.sequence or _next_sequence(session, described.application, of_kind)
    for other in session.scalars(
        sa.select(Release).where(
            Release.application == described.application,
            of_kind,
            sa.or_(Release.sequence == sequence, Release.version == described.version),
        )
    ):
        raise ConflictError(
            f"{other.application} has {other.version} with sequence {other.sequence} already: "
            "give the new release another version and a higher sequence"
        )
    sha256 = images.keep(data)
    if session.get(Blob, sha256) is None:
        session.add(
            Blob(
                sha256=sha256,
                md5=hashlib.md5(data).hexdigest(),
                size_bytes=len(data),
                encoding=described.encoding,
                content_sha256=hashlib.sha256(described.content).hexdigest(),
                content_md5=hashlib.md5(described.content).hexdigest(),
                content_bytes=len(described.content),
            )
        )
        session.flush()
    release = Release(
        application=described.application,
        version=described.version,
        sequence=sequence,
        kind=described.kind,
        channel=channel,
        downgrade=described.downgrade,
        signed_by=described.signed_by,
        data_sha256=described.data_sha256,
        notes=notes,
        blob_sha256=sha256,
        created=time.time(),
    )
    session.add(release)
    session.flush()
    return release


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(data, SKETCH_LIMIT_BYTES + 1)
    except zlib.error as error:
        raise CommandError(f"the file is a damaged gzip ({error}): pack it again") from error
    if len(content) > SKETCH_LIMIT_BYTES:
        raise CommandError(
            f"more than {SKETCH_LIMIT_BYTES} bytes are in the gzip: no board has room for them"
        )
    if not unpacker.eof:
        raise CommandError("the file is a gzip that is cut short: pack it again")
    if content.startswith(_GZIP_MAGIC):
        raise CommandError("the file is a gzip within a gzip: pack it once")
    return content


def _check_labels(kind: str, application: str, version: str, sequence: int) -> None:
    for what, value in (("application", application), ("version", version)):
        if not _LABEL.fullmatch(value):
            raise CommandError(
                f"this is {kind}, which does not say its {what}: give it, 1 to {LABEL_LIMIT} "
                "printable ASCII characters without spaces"
            )
    if not 0 <= sequence <= SEQUENCE_LIMIT:
        raise CommandError(f"the sequence must be from 1 to {SEQUENCE_LIMIT}")


def _signer(data: bytes, keys: list[RSAPublicKey]) -> str:
    signed, found = trailer.split(data)
    if found is None:
        raise CommandError("the image is not signed, and this server has public keys: sign it")
    for key in keys:
        for legacy in (False, True):
            if signature.verify(signed, found, key, legacy):
                return fingerprint(key)
    raise CommandError("the image is not signed with one of this server's keys: sign it anew")


def _next_sequence(session: Session, application: str, of_kind: sa.ColumnElement[bool]) -> int:
    last = session.scalar(
        sa.select(sa.func.max(Release.sequence)).where(Release.application == application, of_kind)
    )
    return (last or 0) + 1
