"""The one exception of an update, with the error numbers of the Arduino core's Updater.

RAM: the class; the texts stay in flash.
"""

from micropython import const

# 0 to 16: cores/esp8266/Updater.h of the Arduino core, except for the text of 10, which there names
# Arduino's magic byte. From 32 on: this project's own, see docs/SPEC.md.
_TEXTS = const("""
0 No Error
1 Flash Write Failed
2 Flash Erase Failed
3 Flash Read Failed
4 Not Enough Space
5 Bad Size Given
6 Stream Read Timeout
7 MD5 verification failed
8 Flash config wrong
9 new Flash config wrong
10 Not an application image
11 Invalid bootstrapping state, reset ESP8266 before updating
12 Signature verification failed
13 No data supplied
14 Out of memory
15 Update already running
16 Unknown update command
32 Refused by the application
33 Updates are not allowed now
34 Trial of a new version is running
35 Release was rejected before
36 Release is older than the floor
37 Image is truncated or damaged
38 Bad MANIFEST
39 Bad ROMFS
41 Image is for another board
42 SHA-256 is not the announced one
43 Sequence is too far above the floor
44 Image is for another application
45 Delta is for another version
46 Not a data image
47 Bad data image
48 Data and application do not belong together
""")


class OTAError(Exception):
    """An update cannot go on: `code` is the error's number, `detail` says more of it."""

    def __init__(self, code, detail=""):
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self):
        """Return the error as the Arduino core prints it: `ERROR[4]: Not Enough Space`."""
        try:
            start = _TEXTS.find("\n%d " % self.code)
            line = _TEXTS[start + 1 : _TEXTS.find("\n", start + 1)]
            line = "ERROR[%d]: %s" % (self.code, line[line.find(" ") + 1 :])
            return line + ": " + self.detail if self.detail else line
        except MemoryError:  # the number alone tells it as well
            return "ERROR[%d]" % self.code
