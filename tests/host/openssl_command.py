"""The real openssl, to compare the tool's keys and signatures with."""

import os
import subprocess
from pathlib import Path

KEYS = Path(__file__).parent.parent / "vectors" / "keys"

# A copy of the environment: other threads may change os.environ while a child process starts.
_ENVIRONMENT = dict(os.environ)


def test_key(bits):
    """Return the path of a private key for tests."""
    return KEYS / f"test-key-{bits}.pem"


test_key.__test__ = False  # pytest takes it for a test by its name


def openssl(*arguments, stdin=b""):
    """Run openssl; return what it prints to stdout. If openssl fails, the test fails."""
    process = tried(*arguments, stdin=stdin)
    assert process.returncode == 0, process.stderr.decode()
    return process.stdout


def tried(*arguments, stdin=b""):
    """Run openssl; return the finished process."""
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=60, check=False, env=_ENVIRONMENT
    )


def public_key(private_path, tmp_path):
    """Write the public key that belongs to a private one, as `openssl rsa -pubout` does."""
    path = tmp_path / "public.key"
    openssl("rsa", "-in", private_path, "-pubout", "-out", path)
    return path
