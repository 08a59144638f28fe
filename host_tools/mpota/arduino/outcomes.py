"""How an upload can end: words for the board's error numbers, and an exception for each failure.

The numbers 0 to 16 are those of Arduino's Updater; those from 32 on are this project's own.
"""

import re
from typing import NamedTuple

from mpota.errors import CommandError

_TEXT_LIMIT = 200  # characters of the board's answer that are shown


class Outcome(NamedTuple):
    """What an error number of the board means, and what to do about it."""

    cause: str
    remedy: str


_AGAIN = "try again"
_FLASH = "restart the board and try again; if this error comes again, its flash chip is worn out"
_PACK = "pack the application again"
_FLASH_SIZE = "flash the board over serial with the right flash size"

OUTCOMES = {
    0: Outcome("the board gave up without naming an error", _AGAIN),
    1: Outcome("the board could not write its flash", _FLASH),
    2: Outcome("the board could not erase its flash", _FLASH),
    3: Outcome("the board could not read its flash", _FLASH),
    4: Outcome(
        "the image is larger than a slot of the board",
        "exclude files, and put what is large, such as pages and pictures, into /data on the board",
    ),
    5: Outcome("the board received another number of bytes than was announced", _AGAIN),
    6: Outcome(
        "the board waited too long for data",
        "bring the board nearer to its access point and try again",
    ),
    7: Outcome("the image did not arrive as it was sent", _AGAIN),
    8: Outcome("the board's flash has another size than the board is set up for", _FLASH_SIZE),
    9: Outcome("the new firmware is for another size of flash", _FLASH_SIZE),
    10: Outcome(
        "the file is not an application image",
        "send an application's directory, or the image that 'mpota pack' made of it",
    ),
    11: Outcome(
        "the board is still in its boot loader's mode", "press its reset button and try again"
    ),
    12: Outcome(
        "the image's signature is missing or wrong",
        "sign it with the key that belongs to this board",
    ),
    13: Outcome("no data arrived", _AGAIN),
    14: Outcome(
        "the board has not enough memory for an update beside its application",
        "restart it and try again; if this error comes again, make the application smaller",
    ),
    15: Outcome("an update is running already", "wait until it has ended, then try again"),
    16: Outcome(
        "the board does not know this kind of update",
        "update it with the tool that belongs to its software",
    ),
    32: Outcome(
        "the application on the board does not allow an update now",
        "try again later",
    ),
    33: Outcome(
        "the board allows no updates now",
        "open the update window or press the button on the device, then try again",
    ),
    34: Outcome(
        "the board is still trying out a new version",
        "wait until it is confirmed or taken back, then try again",
    ),
    35: Outcome(
        "this release failed on this board before", "correct it and give it a higher sequence"
    ),
    36: Outcome(
        "this release is older than what the board accepts", "pack it with a higher sequence"
    ),
    37: Outcome("the image is truncated or damaged", _PACK),
    38: Outcome("the board cannot make sense of the image's MANIFEST", _PACK),
    39: Outcome("the board cannot make sense of the image's file system", _PACK),
    41: Outcome(
        "the image is for another kind of board, or for another MicroPython's bytecode",
        "pack it again, with the version of mpota that the board runs",
    ),
    42: Outcome("what the board received is not what was announced", _AGAIN),
    43: Outcome("the release's sequence is far above the board's", "pack it with a lower sequence"),
    44: Outcome(
        "the image is of another application than the board runs",
        "send it to its own board; or, to let this board take it, run 'mpota config set app=NAME' "
        "over serial",
    ),
    45: Outcome(
        "the delta is for boards that run another version",
        "send the image itself, or a delta from the version that 'mpota status' tells",
    ),
    46: Outcome("the file is no data image", "make one of a folder with 'mpota mkdata'"),
    47: Outcome("the data image holds what a board does not take", "make it with 'mpota mkdata'"),
    48: Outcome(
        "the application and its data do not belong together",
        "send both with one command: 'mpota upload --data'",
    ),
}


_NO_PASSWORD_SET = Outcome(
    "the board is set to ask for a password, and has none to compare with",
    "set one over serial with 'mpota config set password'",
)

_NO_ROOM = re.compile("file system has room|ERROR.4.: Not Enough Space: .*28")
_NO_ROOM_FOR_DATA = Outcome(
    "the board's file system has no room for these data",
    "leave out large files, or delete what the application has written outside of /data; the board "
    "keeps the old data beside the new ones until the trial has ended",
)

# The outcomes of other requests than updates, by words in the board's answer.
_REQUEST_OUTCOMES = {
    "no version is on trial": Outcome(
        "no version is on trial on this board", "'mpota status' tells what it runs"
    ),
    "no password": Outcome(
        "the board has no password for the SHA-256 handshake",
        "set one over serial with 'mpota config set password'",
    ),
    "not confirmed": Outcome(
        "the board could not confirm the version",
        "its log tells why; if the application leaves too little heap, make it smaller",
    ),
    "no version before": Outcome(
        "there is no version to go back to: an update has overwritten it, or it failed before",
        "upload the release that you want",
    ),
}


class UploadError(CommandError):
    """An upload, or another request to a board, did not succeed."""


class UnknownHostError(UploadError):
    """No address is known for the name of a host."""


class HostPortError(UploadError):
    """This computer cannot listen at the address and port that the board is to connect to."""


class NoAnswerError(UploadError):
    """The board does not answer by UDP."""


class PasswordNeededError(UploadError):
    """The board asks for a password, and none was given."""


class WrongPasswordError(UploadError):
    """The board does not take the password."""


class DowngradeError(UploadError):
    """Only the SHA-256 handshake is allowed, and the board asks for the classic one."""


class StrongOnlyError(UploadError):
    """The board takes only the SHA-256 handshake, and was invited in the classic way."""


class NoConnectionError(UploadError):
    """The board accepted the invitation and did not connect by TCP."""


class ConnectionLostError(UploadError):
    """The connection ended or stalled before every byte was acknowledged."""


class NoResultError(UploadError):
    """Every byte was acknowledged, and neither OK nor an error came."""


class UnexpectedReplyError(UploadError):
    """The board sent an answer that is not in the protocol."""


class BusyError(UploadError):
    """The board is busy with an update."""


class RequestRefusedError(UploadError):
    """The board refused another request than an update."""

    def __init__(self, said: str):
        words = printable(said)
        for known, outcome in _REQUEST_OUTCOMES.items():
            if known in words:
                super().__init__(f"{outcome.cause}: {outcome.remedy}")
                return
        super().__init__(f"the board refused this request and said {words!r}: see its log")


class RefusedError(UploadError):
    """The board refused the update; `code` is its error number, None where it gave none.

    `password_proven` is whether the host has proved that it knows the board's password.
    """

    def __init__(self, said: str, password_proven: bool = False):
        words = printable(said)
        found = re.search(r"ERROR\[(\d{1,4})\]", words)
        self.code = int(found[1]) if found else None
        outcome = _particular(words, password_proven)
        if outcome is None and self.code is not None:
            outcome = OUTCOMES.get(self.code)
        if outcome:
            super().__init__(f"{outcome.cause}: {outcome.remedy} (the board said: {words})")
        else:
            super().__init__(
                f"the board refused the update and said {words!r}: look this up in the "
                "documentation of its software"
            )


def _particular(words: str, password_proven: bool) -> Outcome | None:
    """Return a more exact outcome than the error number gives, by the words of the board."""
    if "ERROR[4]" in words and _NO_ROOM.search(words):
        return _NO_ROOM_FOR_DATA
    if "no password is set" in words:
        return _NO_PASSWORD_SET
    if found := re.search(r"ERROR\[14\]: (\d+) of (\d+) bytes free", words):
        cause = f"the board has {found[1]} bytes of heap free, and an update needs {found[2]}"
        if password_proven:
            return Outcome(
                cause,
                "make the application smaller; or let the board restart without it for an update: "
                "over serial, 'mpota config set restart_for_update=true'",
            )
        return Outcome(
            cause,
            "make the application smaller; or set a password over serial, with 'mpota config set "
            "password', so that the board can restart without the application for an update",
        )
    if re.search(r"ERROR\[14\]: Out of memory: .", words):
        return Outcome(
            "the board has no memory for another connection",
            "let its application close connections that it does not need, then try again",
        )
    if found := re.search(r"failed transfers, try again in (\d+) s", words):
        return Outcome(
            f"the last transfers to this board failed, so it takes none for {found[1]} s",
            "wait that long, then try again",
        )
    return None


def printable(said: str) -> str:
    """Return the board's words as one line that is safe to print on a terminal."""
    return "".join(c if c.isprintable() else " " for c in said[:_TEXT_LIMIT]).strip()
