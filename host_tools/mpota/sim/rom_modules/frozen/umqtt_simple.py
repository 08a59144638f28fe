"""An MQTT 3.1.1 client with the names of umqtt.simple."""

import struct

import usocket


class MQTTException(Exception):
    pass


def _text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(raw)) + raw


class MQTTClient:
    def __init__(self, client_id, server, port=0, user=None, password=None, keepalive=0,
                 ssl=None, ssl_params=None):  # fmt: skip
        if ssl:
            raise NotImplementedError("umqtt.simple with ssl is not simulated")
        self.client_id = client_id
        self.sock = None
        self.server = server
        self.port = port or 1883
        self.user = user
        self.pswd = password
        self.keepalive = keepalive
        self.cb = None
        self.pid = 0
        self.lw_topic = None

    def set_callback(self, f):
        self.cb = f

    def set_last_will(self, topic, msg, retain=False, qos=0):
        self.lw_topic = topic
        self.lw_msg = msg
        self.lw_flags = 4 | qos << 3 | bool(retain) << 5

    def connect(self, clean_session=True, timeout=None):
        self.sock = usocket.socket()
        self.sock.settimeout(timeout)
        self.sock.connect(usocket.getaddrinfo(self.server, self.port)[0][-1])
        flags = 2 if clean_session else 0
        texts = [self.client_id]
        if self.lw_topic is not None:
            flags |= self.lw_flags
            texts += [self.lw_topic, self.lw_msg]
        if self.user is not None:
            flags |= 0xC0
            texts += [self.user, self.pswd]
        head = b"\x00\x04MQTT\x04" + bytes([flags]) + struct.pack("!H", self.keepalive)
        self._send(0x10, head + b"".join([_text(text) for text in texts]))
        kind, body = self._read_packet()
        if kind != 0x20:
            raise MQTTException(kind)
        if body[1]:
            raise MQTTException(body[1])
        return body[0] & 1

    def disconnect(self):
        self._send(0xE0, b"")
        self.sock.close()

    def ping(self):
        self._send(0xC0, b"")

    def publish(self, topic, msg, retain=False, qos=0):
        message = msg.encode() if isinstance(msg, str) else msg
        number = b""
        if qos:
            self.pid = self.pid % 0xFFFF + 1
            number = struct.pack("!H", self.pid)
        self._send(0x30 | qos << 1 | bool(retain), _text(topic) + number + message)
        if qos == 1:
            self._wait_for(0x40)

    def subscribe(self, topic, qos=0):
        self.pid = self.pid % 0xFFFF + 1
        self._send(0x82, struct.pack("!H", self.pid) + _text(topic) + bytes([qos]))
        if self._wait_for(0x90)[2] == 0x80:
            raise MQTTException(0x80)

    def wait_msg(self):
        self.sock.setblocking(True)
        return self._read_message()[0]

    def check_msg(self):
        self.sock.setblocking(False)
        try:
            return self._read_message()[0]
        finally:
            self.sock.setblocking(True)

    def _wait_for(self, op):
        # Returns the answer of this kind to the last number given out.
        while True:
            kind, body = self._read_message()
            if kind == op and struct.unpack("!H", body)[0] == self.pid:
                return body

    def _read_message(self):
        # Receives a packet, if one has come, and gives a message to the callback.
        kind, body = self._read_packet()
        if kind is None or kind & 0xF0 != 0x30:
            return kind, body
        size = struct.unpack("!H", body)[0]
        topic, at = body[2 : 2 + size], 2 + size
        qos = kind >> 1 & 3
        if qos:
            number = body[at : at + 2]
            at += 2
        self.cb(topic, body[at:])
        if qos == 1:
            self._send(0x40, number)
        return kind, body

    def _read_packet(self):
        first = self.sock.read(1)
        if first is None:
            return None, b""
        if not first:
            raise OSError(-1)  # the connection is closed
        self.sock.setblocking(True)
        size = shift = 0
        while True:
            byte = self.sock.read(1)[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first[0], self.sock.read(size) if size else b""

    def _send(self, op, payload):
        size, length = len(payload), b""
        while size > 0x7F:
            length += bytes([size & 0x7F | 0x80])
            size >>= 7
        self.sock.write(bytes([op]) + length + bytes([size]) + payload)
