"""https: what the chip can do, and what it says about what it cannot do."""

import datetime
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from pulling import NO_UPDATES, PullingDevice
from web_site import StrongFile, WebSite, status

# This class replaces the firmware's tls module. Like a handshake in a heap that is too full, it
# raises MemoryError.
FULL_HEAP = """
class tls:
    CERT_NONE = PROTOCOL_TLS_CLIENT = 0

    class SSLContext:
        def __init__(self, protocol):
            pass

        def wrap_socket(self, tcp, server_hostname=None):
            raise MemoryError

__import__("sys").modules["tls"] = tls
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return the file of a self-signed certificate and its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def secret_site(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with WebSite(context=context) as site:
        yield site


@pytest.fixture
def device(tmp_path):
    with PullingDevice(tmp_path, heap="96k") as device:
        yield device


def test_an_update_comes_over_https(device, secret_site):
    data = device.trial_image(20_000)
    device.installs(secret_site.add("/x", StrongFile(data)), data)


def test_a_download_over_https_goes_on_where_it_broke_off(device, secret_site):
    data = device.trial_image(20_000)
    page = StrongFile(data, [9000])
    device.installs(secret_site.add("/x", page), data, timeout_ms=2000)
    assert page.sent == len(data)


def test_a_redirect_to_https_is_followed_and_one_back_is_not(device, secret_site):
    with WebSite() as site:
        secret_site.add("/there", status("304 Not Modified"))
        to = site.add("/to", status("302 Found", Location=secret_site.url + "/there"))
        assert device.update(to, redirects="strict").result == str(NO_UPDATES)
        site.add("/plain", status("304 Not Modified"))
        back = secret_site.add("/back", status("302 Found", Location=site.url + "/plain"))
        for mode in ("strict", "force"):
            assert "from https to http" in device.fails(back, -104, redirects=mode).text
        assert not site.asked("/plain")


def test_a_handshake_with_a_server_that_speaks_no_tls_is_told(device):
    with WebSite() as site:
        outcome = device.fails(site.url.replace("http:", "https:") + "/", -1, timeout_ms=1000)
        assert "TLS handshake" in outcome.text


def test_a_handshake_that_finds_the_heap_too_full_is_told_as_that(device):
    device.command(f"exec({FULL_HEAP!r})")
    with WebSite() as site:
        outcome = device.fails(site.url.replace("http:", "https:") + "/", -8)
        assert "not enough ram: the TLS handshake needs more" in outcome.text
