"""`mpota inspect`: what is in an image, and what is wrong with a damaged one."""

import hashlib

import pytest
from mpota import image
from mpota.cli import app
from mpota.image import trailer
from typer.testing import CliRunner

FILES = {"app.mpy": b"M\x06\x00\x1f", "lib/table.bin": b"x" * 5000}


@pytest.fixture
def inspect(tmp_path):
    """Run `mpota inspect` on some bytes; return its result."""

    def run(data):
        path = tmp_path / "garden.img"
        path.write_bytes(data)
        return CliRunner().invoke(app, ["inspect", str(path)])

    return run


def built(**fields):
    return image.build(
        **({"name": "garden", "version": "1.4.0", "sequence": 17, "files": FILES} | fields)
    )


def test_an_image_is_told_whole(inspect):
    data = built()
    result = inspect(data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "name       garden\n"
        "version    1.4.0\n"
        "sequence   17\n"
        "board      esp8266\n"
        "mpy        6.3\n"
        "downgrade  not allowed\n"
        f"ROMFS      {len(data) - 40} bytes\n"
        f"SHA-256    {hashlib.sha256(data[:-40]).hexdigest()}\n"
        "signature  none\n"
        f"image      {len(data)} bytes\n"
        f"slot       102144 bytes, {102144 - len(data)} are left\n"
        "files\n"
        "         4 app.mpy\n"
        "      5000 lib/table.bin\n"
    )


def test_a_signature_is_told_with_its_bits(inspect):
    result = inspect(trailer.append(built(), bytes(256)))
    assert "signature  2048 bits\n" in result.stdout


def test_an_image_that_may_go_back_is_told(inspect):
    assert "downgrade  allowed\n" in inspect(built(downgrade=True)).stdout


def test_an_image_that_no_slot_takes_is_told(inspect):
    data = built(files={"app.mpy": bytes(102_400)})
    result = inspect(data)
    assert result.exit_code == 0
    assert f"slot       102144 bytes, {len(data) - 102144} too few\n" in result.stdout


def test_fields_that_are_not_there_are_told(inspect):
    result = inspect(built(mpy=None))
    assert "mpy        not said\n" in result.stdout


@pytest.mark.parametrize("data", [b"", b"no image", built()[:-1], built()[:-41] + built()[-40:]])
def test_what_is_no_whole_image_is_status_1_and_one_line(inspect, data):
    result = inspect(data)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: not a good application image, ")
    assert result.stderr.count("\n") == 1


def test_an_image_of_the_format_before_is_told(inspect):
    header = b"MANIFEST".ljust(257, b"\0") + b"ustar".ljust(255, b"\0")
    result = inspect(header + b"mpota 1\nname garden\n".ljust(512, b"\0"))
    assert (
        result.exit_code == 1
        and "which boards no longer take: pack the application again" in result.stderr
    )


def test_a_missing_file_is_told(tmp_path):
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "no.img")])
    assert result.exit_code == 1 and "No such file" in result.stderr
