"""DTR and RTS: the board is reset and taken into its boot mode by the adapter's lines.

A pseudo-terminal has no such lines, so esptool's own RFC 2217 server stands between, with an
adapter whose lines lead to the two transistors that a NodeMCU has.
"""

import contextlib
import socket
import threading
import time
import types

import pytest
import serial
import serial.rfc2217
from esp_rfc2217_server import esp_port_manager
from esp_rfc2217_server.redirector import Redirector
from mpota.board.firmware_file import check_firmware
from mpota.board.serial import Loader
from mpota.board.set_up import Job, set_up
from mpota.sim.firmware import stand_in_firmware
from serial_board import Report, SerialBoard

# This is what esptool does with DTR (D) and RTS (R) of a port on this computer. It resets the chip
# while GPIO0 is low.
CLASSIC_RESET = "D0|R1|W0.1|D1|R0|W0.05|D0"


# There is a capacitor at the chip's reset pin. The chip reads GPIO0 only this long after the pin
# has been released.
RISE_S = 0.01


class WiredAdapter(serial.Serial):
    """An adapter whose RTS holds the chip in reset, and whose DTR selects its boot mode.

    As on a NodeMCU, both lines at once do neither.
    """

    board = None
    is_held = False
    cts = dsr = ri = cd = False  # these lines are not connected

    def _update_rts_state(self):
        self._update_lines()

    def _update_dtr_state(self):
        self._update_lines()

    def _update_lines(self):
        if self.board is None:
            return
        was_held, self.is_held = self.is_held, self._rts_state and not self._dtr_state
        if was_held and not self.is_held:
            threading.Timer(RISE_S, self._start).start()

    def _start(self):
        if not self.is_held:
            self.board.reset(boot_mode=self._dtr_state and not self._rts_state)


@contextlib.contextmanager
def served(board):
    """Yield the URL at which esptool's server has the adapter of *board*."""
    adapter = WiredAdapter(str(board.port), 115200, timeout=1)
    adapter.board = board.board
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            redirector = Redirector(adapter, client)
            try:
                redirector.shortcircuit()
            finally:
                redirector.stop()
                client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"rfc2217://127.0.0.1:{listener.getsockname()[1]}?ign_set_control"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        adapter.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_board_is_reset_into_its_boot_mode_and_out_of_it_by_dtr_and_rts(tmp_path, monkeypatch):
    monkeypatch.setitem(esp_port_manager.cfg, "custom_reset_sequence", CLASSIC_RESET)
    # pyserial asks the server at each command, and looks every 50 ms whether it has answered. With
    # shorter pauses the test takes less time.
    pauses = types.SimpleNamespace(**vars(time))
    pauses.sleep = lambda seconds: time.sleep(seconds / 20)
    monkeypatch.setattr(serial.rfc2217, "time", pauses)
    with SerialBoard(tmp_path, has_lines=True) as board, served(board) as url:
        job = Job(check_firmware(stand_in_firmware(code_bytes=4096), "short.bin"))
        _, ready = set_up(url, job, lambda _: {"ssid": "garden"}, Report())
        assert ready.address == board.board.ip
        # The board is reset once more, now that a program runs on it.
        with Loader(url, tell=lambda line: None) as loader:
            start = len(board.board.lines)
            assert loader.start()
            board.board.wait_for("listens on port", start=start)
