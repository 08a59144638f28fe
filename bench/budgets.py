"""The budgets of docs/DESIGN.md: `make bench` shows them, the tests of tests/system hold TOLERANCE
times as much.

Heap is in KB of 1,024 bytes on the chip. It is measured on the simulated board, whose objects are
larger: SCALE takes the one to the other.
"""

from mpota.sim.heap import BYTES_PER_CHIP_BYTE

TOLERANCE = 1.2

SCALE = 1 / BYTES_PER_CHIP_BYTE

IDLE_KB = 5.5
# With a password, the names of the services take the interpreter's table of names over its step
# from 310 to 630 names, of 6 bytes each on the chip. An application with some names of its own
# makes it take that step in any case.
NAMES_STEP_KB = 1.9
# What is uploaded, with the arguments of measure.heap(), and how much the peak is over idle.
_STRONG = {"password": "a password of the usual length", "auth": "strict"}
UPLOADS = {
    "unsigned, SHA-256": ({}, 10),
    "unsigned, MD5 as espota.py has it": ({"auth": "classic"}, 10),
    "with a password": (_STRONG, 10),
    "signed with 2048 bits": ({"key_bits": 2048}, 12),
    "signed with 2048 bits and a password": ({"key_bits": 2048} | _STRONG, 12),
}

# What a stranger's talk with the board may take until it is over; what strangers' datagrams may
# leave, from the second on, and what the boot after a confirmation may take beyond a cold one; what
# one on trial may take beyond that.
STRANGER_KB = 2.5
LEFT_KB = 0.3
TRIAL_KB = 1.2

# The mDNS responder, idle: its names included, and beside a password, with which the interpreter's
# table of names has made its step already.
MDNS_KB = 1.5

# Flash bytes programmed for each byte of an image.
PROGRAMMED_PER_BYTE = 1.05

# Of the throughput of a loop that receives, counts and writes in the same order.
THROUGHPUT = 0.95

# A board that asks a server: the peak of its update's heap over that of an upload with an MD5, as
# servers announce one; the heap of a question.
PULL_OVER_UPLOAD_KB = 1.5
QUESTION_KB = 8

# A board that asks hawkBit: its heap over that of one that asks a server, in a question and at the
# peak of an update; and when both are idle, for the settings themselves. Only the tests measure it.
DDI_OVER_PULL_KB = 4
DDI_IDLE_KB = 0.2

# The update page: its heap when idle, and for each connection; its bytes as it is sent; the speed
# of an upload, of that of one to the listener of the same board.
PAGE_IDLE_KB = 0.8
PAGE_CONNECTION_KB = 1.5
PAGE_BYTES = 6 * 1024
PAGE_THROUGHPUT = 0.9

# Flash time of an update of 100 KB by the flash chip's data sheet, of that of the version of
# 2026-11-25 (commit 9f58077). Its simulated board counted 1,598 programs of 128 bytes and 53 erases
# for an image of 101,888 bytes, from the invitation to the confirmation. Half a page is taken for
# half of a page's 0.7 ms; counted as whole ones, they would make 3,521 ms.
FLASH_TIME = 0.6
OLD_FLASH_MS_PER_100_KB = 2959

# A boot on trial, beyond an ordinary one: how often the image is read, and records written. For
# each record littlefs reads some 12 KB of its own.
TRIAL_READS = 1
TRIAL_RECORDS = 2
