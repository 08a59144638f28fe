"""The simulated board: MicroPython's unix port with the flash, the heap and the modules of an
ESP8266. It runs the same device code. `Board` is the Python API, `mpota sim` the command.
"""

from mpota.board.flash import create_flash, read_flash
from mpota.sim.board import Board

__all__ = ["Board", "create_flash", "read_flash"]
