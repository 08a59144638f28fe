"""Images made by hand, with any MANIFEST that a test wants."""

import io
import tarfile

from boards import compiled
from hostile_romfs import file, filesystem, with_footer


def manifest_text(sequence: int, /, **changes: bytes | None) -> bytes:
    """Return the lines of a good MANIFEST, with *changes* by name; a line of None is left out."""
    facts = {
        "first": b"mpota 2", "name": b"name small", "version": b"version 1",
        "sequence": b"sequence %d" % sequence, "board": b"board esp8266", "mpy": b"mpy 6.3",
    }  # fmt: skip
    return b"".join(line + b"\n" for line in (facts | changes).values() if line is not None)


def image_with(manifest: bytes, files: dict[str, bytes]) -> bytes:
    """Return an image of a MANIFEST and of *files*, whose sources are compiled."""
    records = [file(name.encode(), content) for name, content in compiled(files).items()]
    return with_footer(filesystem(file(b"MANIFEST", manifest), *records))


def tar_of_mpota_1() -> bytes:
    """Return an image of the previous format."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in {
            "MANIFEST": b"mpota 1\nname small\nversion 1\nsequence 9\nboard esp8266\n",
            "app.py": b"def main(ota):\n    pass\n",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()
