# The modules of MicroPython's own build for 2 MiB, one by one, since _boot.py is another.
module("_boot.py")
freeze(
    "$(PORT_DIR)/modules",
    ("apa102.py", "espnow.py", "flashbdev.py", "inisetup.py", "port_diag.py"),
)
require("bundle-networking")
require("dht")
require("ds18x20")
require("neopixel")
require("onewire")
include("$(MPY_DIR)/extmod/asyncio")
require("ssd1306")
require("upysh")
require("umqtt.simple")
require("umqtt.robust")

include("../../manifest.py")
