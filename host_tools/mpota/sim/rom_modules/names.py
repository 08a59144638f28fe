"""The firmware's own modules, by the names that programs import. Read by CPython and MicroPython.

The interpreter has two tables of built-in modules (py/objmodule.c of MicroPython). A module in the
first is found before anything on `sys.path`; one in the second after all of that, and before it
under its name with a u in front.
"""

# The simulated board's modules take the places of the interpreter's own ones of these names.
REPLACED = ("hashlib", "machine", "micropython", "os", "socket", "time", "vfs")

# They are in the first table, and the interpreter has none.
ADDED = ("esp", "network")

# So are these, which the chip has frozen into its firmware: there they come after what is found in
# the folder "", and before all else.
FROZEN = (
    "apa102",
    "dht",
    "ds18x20",
    "neopixel",
    "ntptime",
    "onewire",
    "ssd1306",
    "umqtt",
    "webrepl",
)

# Modules of the firmware that the simulated board lacks: importing one raises an error that says
# so.
MISSING = ("_espnow", "_onewire", "_webrepl", "espnow", "lwip", "port_diag", "upysh")
