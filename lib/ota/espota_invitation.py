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
        session = Session(listener, udp, address)
        session.command = int(words[0])
        session.host = (address[0], int(words[1]))
        session.size = int(words[2])
        session.md5 = words[3].decode()
        session.sha256 = words[5].decode() if len(words) == 6 else ""
        listener.session = session


def begin_anew(session, listener, udp, data, address):
    """Let *session*, which is not authenticated, give way if *data* is another invitation."""
    open_session(listener, udp, data, address)
    new = listener.session
    if new is not session:
        session.steps.close()
        # Who asks again before a delay is over does not wait for it anew, nor has more time.
        new.ask_at = session.ask_at
        if address == session.address:
            new.own_until = session.own_until
