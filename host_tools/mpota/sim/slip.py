"""SLIP frames (RFC 1055), in which the boot ROM and esptool talk."""

END = b"\xc0"
_ESCAPE = b"\xdb"
_ESCAPED_END, _ESCAPED_ESCAPE = b"\xdb\xdc", b"\xdb\xdd"
_LONGEST = 64 * 1024  # bytes of a frame; the longest that esptool sends has 16 KiB of data


def frame(packet: bytes) -> bytes:
    """Return the frame for *packet*, as it is sent over the line."""
    escaped = packet.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(END, _ESCAPED_END)
    return END + escaped + END


class FrameReader:
    """Find the packets in what comes over the line, in pieces of any size."""

    def __init__(self) -> None:
        self._pending = b""
        self._inside = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the packets that are complete now. Bytes outside of frames are skipped."""
        packets = []
        self._pending += data
        while END in self._pending:
            before, _, self._pending = self._pending.partition(END)
            if not self._inside or not before:
                # An END that follows another one at once begins a frame: so a lost one does not
                # make the frames and the gaps between them change places for good.
                self._inside = True
                continue
            self._inside = False
            packets.append(before.replace(_ESCAPED_END, END).replace(_ESCAPED_ESCAPE, _ESCAPE))
        if not self._inside or len(self._pending) > _LONGEST:
            self._pending, self._inside = b"", False
        return packets
