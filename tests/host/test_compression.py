"""Images as gzips and as deltas: what the host makes, and reads."""

import gzip
import random
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mpota import image
from mpota.cli import app
from mpota.errors import DamagedImageError
from mpota.image import compression, delta, signature
from openssl_command import test_key
from typer.testing import CliRunner

KEY = load_pem_private_key(test_key("2048").read_bytes(), None)
CHANCE = random.Random(15)
SHARED = CHANCE.randbytes(40_000)


def built(sequence=1, **files):
    files = {f"{name}.bin": content for name, content in files.items()}
    return image.build(name="garden", version=str(sequence), sequence=sequence, files=files)


def made(old, new):
    """Return the delta from *old* to *new*, after a check that it makes *new*."""
    changed = delta.make(old, new)
    content, rest = compression.unpack(changed)
    assert rest == b""
    assert delta.apply(old, delta.read(content)) == image.unpacked(new)[0]
    return changed


def test_any_tool_unpacks_a_gzip_and_the_same_image_gives_the_same_bytes():
    data = built(a=SHARED, b=bytes(5000))
    packed = compression.compress(data)
    assert packed == compression.compress(data) and len(packed) < len(data)
    assert gzip.decompress(packed) == data
    done = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True)
    assert done.stdout == data


def test_a_gzip_of_an_image_is_read_as_the_image_with_the_signature_that_counts():
    data = built(a=b"x" * 3000)
    for packed in (compression.compress(data), gzip.compress(data)):
        assert image.read(packed) == image.read(data)
        signed = signature.sign(packed, KEY)
        assert image.read(signed).signature == signed[-260:-4]
    inner = signature.sign(data, KEY)
    assert image.read(gzip.compress(inner)).signature == inner[-260:-4]


def test_a_damaged_gzip_is_told():
    packed = gzip.compress(built(a=SHARED))
    spoiled = packed[:2000] + b"????" + packed[2004:]
    for data, words in ((packed[:-1], "cut short"), (spoiled, "the gzip is damaged"),
                        (packed + b"more", "follow its end")):  # fmt: skip
        with pytest.raises(DamagedImageError, match=words):
            image.read(data)


def test_a_delta_makes_the_new_image_whatever_has_changed():
    old = built(a=SHARED, b=b"text " * 100, c=bytes(9000))
    for new, at_most in (
        (built(2, a=SHARED, b=b"text " * 100, c=bytes(9000)), 250),
        (built(2, a=SHARED[:20_000] + b"new" + SHARED[20_000:], b=b"", c=bytes(9000)), 300),
        (built(2, z=SHARED[30_000:] + SHARED[:30_000]), 300),
        (built(2, a=bytes(x ^ 1 if n % 4000 == 0 else x for n, x in enumerate(SHARED))), 500),
        (built(2, a=CHANCE.randbytes(500)), 900),
        (built(2, c=bytes(60_000)), 300),
        (built(2), 300),
        (old, 250),
    ):
        assert len(made(old, new)) <= at_most


def test_a_delta_brings_the_signature_of_the_new_image():
    old, new = built(a=SHARED), signature.sign(built(2, a=SHARED), KEY)
    assert len(made(old, new)) < 600
    # What an old image was sent as makes no difference.
    sent = signature.sign(compression.compress(old), KEY)
    assert made(sent, new) == made(old, new)


def test_a_delta_is_for_its_base_alone():
    old, new = built(a=SHARED), built(2, a=SHARED)
    content, _ = compression.unpack(delta.make(old, new))
    with pytest.raises(DamagedImageError, match="another version"):
        delta.apply(new, delta.read(content))


def test_a_damaged_delta_is_told():
    content, _ = compression.unpack(delta.make(built(a=SHARED), built(2, a=SHARED)))
    for bad in (content[:70], content[:-3], b"MPD2" + content[4:], content + b"\0", b""):
        with pytest.raises(DamagedImageError):
            delta.read(bad)


# The commands


@pytest.fixture
def garden(tmp_path):
    """Return the folder of an application, whose sequence and text are changed by `change`."""
    folder = tmp_path / "garden"
    folder.mkdir()

    def change(sequence, text):
        (folder / "pyproject.toml").write_text(
            f'[tool.mpota]\nname = "garden"\nversion = "{sequence}"\nsequence = {sequence}\n'
        )
        (folder / "app.py").write_text(f"def main(ota):\n    print({text!r})\n")
        (folder / "page.bin").write_bytes(SHARED)
        return folder

    return change


def run(*arguments):
    result = CliRunner().invoke(app, [str(word) for word in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_pack_gzip_makes_an_image_that_inspect_tells_of(garden, tmp_path):
    output = tmp_path / "garden.img.gz"
    said = run("pack", garden(1, "hello"), "--gzip", "-o", output)
    size = len(image.unpacked(output.read_bytes())[0])
    assert f"{size} bytes, {output.stat().st_size} as a gzip" in said.replace("\n", "")
    assert f"image      {size} bytes, {output.stat().st_size} as a gzip\n" in run("inspect", output)


def test_pack_delta_from_makes_both_and_says_what_is_saved(garden, tmp_path):
    old, new = tmp_path / "old.img", tmp_path / "new.img"
    run("pack", garden(1, "hello"), "-o", old)
    said = run("pack", garden(2, "good-bye"), "-o", new, "--delta-from", old)
    changed = tmp_path / "new.img.delta"
    content, _ = compression.unpack(changed.read_bytes())
    assert delta.apply(old.read_bytes(), delta.read(content)) == new.read_bytes()
    size = changed.stat().st_size
    assert size < 400 and f"{size} bytes instead of" in said and "run garden 1," in said
    told = run("inspect", changed)
    assert image.read(old.read_bytes()).sha256 in told
    assert image.read(new.read_bytes()).sha256 in told


def test_pack_signs_the_gzip_and_not_what_is_in_it(garden, tmp_path):
    folder = garden(1, "hello")
    (folder / "private.key").write_bytes(test_key("2048").read_bytes())
    (folder / "private.key").chmod(0o600)
    output = tmp_path / "garden.img.gz"
    run("pack", folder, "--gzip", "-o", output)
    content, rest = compression.unpack(output.read_bytes())
    assert len(rest) == 260 and image.read(content).signature is None


def test_what_is_no_image_is_no_base(garden, tmp_path):
    old = tmp_path / "old.img"
    for content in (b"", b"no image", None):
        old.write_bytes(content) if content is not None else old.unlink()
        result = CliRunner().invoke(
            app, ["pack", str(garden(1, "x")), "--delta-from", str(old), "-o", str(tmp_path / "o")]
        )
        assert result.exit_code == 1 and not (tmp_path / "o").exists()
