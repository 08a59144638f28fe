"""What counts as an ArduinoOTA invitation; loaded when a datagram begins like one."""

from .espota_session import Session


def open_session(listener, udp, data, address):
    """Open a session of *listener* if *data*, which *udp* got from *address*, is an invitation.

    It is `<command> <tcp port> <size> <md5>` in one line, for the stronger handshake followed by
    `2 <sha256>`; anything else, or a port that a service of the host's own may have, gets no
    answer.
    """
    words = data.split()
    if len(words) == 6 and words[4] == b"2" and len(words[5]) == 64:
        get = listener.ota.settings.get
        if get("password_hash") and not (get("password") or get("password_sha256")):
            return  # as a board that does not know this handshake: it cannot take part in it
    elif len(words) != 4 or len(data) > 99:
        return
    if len(words[3]) != 32 or len(data) > 199:
        return
    for c in words[3] + words[-1]:
        if c not in b"0123456789abcdefABCDEF":
            return
    if words[1].isdigit() and 1023 < int(words[1]) < 65536 and words[2].isdigit():
        listener.session = Session(listener, udp, words, address)
