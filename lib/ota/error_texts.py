"""The texts of the error numbers; loaded when an error is put into words."""

from micropython import const

# 0 to 16: cores/esp8266/Updater.h of the Arduino core. From 32 on: this project's own, see
# docs/SPEC.md.
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
10 Magic byte is not 0xE9
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
39 Bad file name
40 Files do not match MANIFEST
41 Image is for another board
42 SHA-256 is not the announced one
43 Sequence is too far above the floor
44 Image is for another application
""")


def text(code):
    """Return the text of error number *code*."""
    start = _TEXTS.find("\n%d " % code)
    line = _TEXTS[start + 1 : _TEXTS.find("\n", start + 1)]
    return line[line.find(" ") + 1 :]
