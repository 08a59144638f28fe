"""The names of the modules in the board's MicroPython.

They are those of the official build FLASH_2M_ROMFS. Their sources are MP_REGISTER_MODULE and
MP_REGISTER_EXTENSIBLE_MODULE in MicroPython's code, and the port's manifests.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# `import NAME` looks for a file of this name in sys.path first. The name with a `u` before it means
# the built-in module in any case.
EXTENSIBLE_MODULES = _words("""
    array binascii collections cryptolib errno hashlib heapq io json machine os platform random re
    select socket struct time websocket
""")
# `import NAME` always means the built-in module.
BUILT_IN_MODULES = _words("""
    _asyncio _espnow _onewire _webrepl btree builtins deflate esp framebuf gc lwip math micropython
    network sys tls uctypes vfs
""")
# Python modules in the firmware.
FROZEN_MODULES = _words("""
    _boot apa102 asyncio dht ds18x20 espnow flashbdev inisetup mip neopixel ntptime onewire
    port_diag requests ssd1306 ssl umqtt upysh webrepl webrepl_setup
""")
