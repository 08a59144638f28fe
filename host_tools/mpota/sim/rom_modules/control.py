"""The control page: what the board and its keeper tell each other, beside the flash.

One page of memory, shared by the process that keeps the board and the process that is the board
for one boot. Words are unsigned, 32 bits, little-endian; the numbers below are byte offsets.
Read by CPython and by MicroPython.
"""

SIZE = 4096

REQUEST = 0  # why the process ended itself: one of the values below
RESET_CAUSE = 4  # what machine.reset_cause() tells in this boot
OPERATIONS = 8  # flash programs and erases since the keeper started
CUT_AFTER = 12  # power fails before the operation after this many; NEVER: it does not
TORN = 16  # how the operation that the power cut meets stops part-way: an index of TORN_MODES
PROGRAMS = 20
ERASES = 24
BYTES_PROGRAMMED = 28
VIOLATIONS = 32  # flash calls that the chip would not have carried out as asked
WATCHDOG = 36  # milliseconds the armed watchdog waits; 0: not armed
FED = 40  # times the watchdog was fed
WATCHDOG_MS = 44  # what machine.WDT() arms
CHIP_ID = 48
NETWORK = 52  # the access point: one of the values below
TIMERS = 56  # 64 bits: the address of the function that runs the timers that are due; 0: no timer
IP = 64  # the board's own address, dotted, NUL-terminated, 16 bytes
TICKED = 80  # 1: that function is about to be called
ACTIVE = 84  # 1: the station is active; and as much for the access point, four bytes further
PAGES = 92  # pages of the flash chip that programs touched
BYTES_READ = 96
JOIN_MS = 100  # from connect() until the station has joined
MAY_INTERRUPT = 104  # 1: Ctrl-C interrupts the program, since the board has started as far as that
RAW_PROMPT = 108  # 1: the prompt is the one for programs (raw REPL); as the board left it, too
SLEEP_MS = 112  # of the deep sleep that the board has asked for; 0: until the reset button
TICKS = 116  # what time.ticks_ms() begins with in each boot
VIOLATION_TEXT = 128  # the first violation, NUL-terminated, 128 bytes
TEXT_SIZE = 40  # of the texts that follow, with the NUL at their end
TEXT_LENGTH = 32  # bytes that such a text has at most
SSID = 256  # the name of the network that the station is to join, then the access point's own
HOST_NAME = 336
NETWORK_NAME = 416  # of the only network that there is; nothing: every network is there
NAME_SERVER = 376  # where names are looked up, as "ip:port"; nothing: by the host's own means
RTC = 512  # the 512 bytes of RTC user memory, 0x60001200 on the chip
RTC_SIZE = 512

NEVER = 0xFFFFFFFF

# The first MiB of flash, as it was at the last reset, is in the board's memory.
MAPPED_AT = 0x40200000
MAPPED_SIZE = 0x100000

# What flash takes, by the typical figures of a data sheet (W25Q32 and the like).
PAGE_PROGRAM_US = 700
SECTOR_ERASE_US = 45000

OUT_OF_REACH = 0
IN_REACH = 1
KEY_IS_WRONG = 2

REQUEST_NONE = 0
REQUEST_RESET = 1
REQUEST_POWER_CUT = 2
REQUEST_SOFT_RESET = 3  # Ctrl-D at the prompt
REQUEST_WATCHDOG = 4  # the watchdog of the chip's SDK has bitten
REQUEST_DEEP_SLEEP = 5

# Where only root may use this computer's ports below 1024, the board's are so much higher.
PORTS_HIGHER_BY = 8000

CANNOT_START = 3  # exit status of a process that could not become the board

TORN_MODES = ("none", "prefix", "suffix", "alternate-words", "other-words", "all-but-last-byte")
