"""MicroPython's firmware is downloaded once, from a server that stands in for micropython.org."""

import hashlib
import http.server
import threading

import pytest
from mpota.board import firmware_cache
from mpota.errors import CommandError
from mpota.sim.firmware import stand_in_firmware

GOOD = stand_in_firmware()
NAME = "ESP8266_GENERIC-FLASH_2M_ROMFS-20260406-v1.28.0.bin"


class Server(http.server.ThreadingHTTPServer):
    """Gives `content`, with `length` as its length, and counts the requests."""

    content, length, status, requests = GOOD, None, 200, 0


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
        self.server.requests += 1
        assert self.path == f"/{NAME}"
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.length or len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "stock.toml").write_text(
        f'url = "http://127.0.0.1:{server.server_port}/"\nfile = "{NAME}"\n'
    )
    monkeypatch.setattr(firmware_cache, "device_root", lambda: tmp_path)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def stock(tmp_path, server):
    def stock():
        return firmware_cache.stock_firmware(
            lambda line: None, lambda done, total: None, tmp_path / "cache"
        )

    return stock


def test_the_pinned_file_is_one_of_micropython_org_with_romfs():
    root = firmware_cache.device_root()
    pinned = (root / "firmware" / "stock.toml").read_text()
    assert "https://micropython.org/resources/firmware/" in pinned
    assert "ESP8266_GENERIC-FLASH_2M_ROMFS-" in pinned


def test_the_firmware_is_downloaded_once_and_its_digest_recorded(stock, server, tmp_path):
    assert stock().data == stock().data == GOOD
    assert server.requests == 1
    recorded = (tmp_path / "cache" / f"{NAME}.sha256").read_text()
    assert recorded == f"{hashlib.sha256(GOOD).hexdigest()}  {NAME}\n"


def test_a_kept_file_that_has_changed_is_refused_though_it_is_a_firmware(stock, tmp_path):
    stock()
    (tmp_path / "cache" / NAME).write_bytes(stand_in_firmware(version="v1.28.1"))
    with pytest.raises(CommandError, match="delete it, then it is downloaded again"):
        stock()


def test_what_is_no_firmware_is_not_kept(stock, server, tmp_path):
    for content in (b"<html>not here</html>", GOOD[:100000]):
        server.content = content
        with pytest.raises(CommandError):
            stock()
    assert not (tmp_path / "cache").exists()
    server.content = GOOD
    assert stock().data == GOOD


def test_a_download_that_ends_too_early_is_told(stock, server):
    server.length = len(GOOD) + 500
    with pytest.raises(CommandError, match=f"ended after {len(GOOD)} of"):
        stock()


def test_a_server_that_has_it_not_or_is_not_there_is_told_with_a_way_round(stock, server):
    server.status = 404
    with pytest.raises(CommandError, match="404.*give it with --firmware FILE"):
        stock()
    server.shutdown()
    server.server_close()
    with pytest.raises(CommandError, match="cannot download.*--firmware FILE"):
        stock()


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"cannot read .*none\.bin"):
        firmware_cache.read_firmware(tmp_path / "none.bin")
