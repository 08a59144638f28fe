"""Values out of JSON as it arrives, without the rest of it. RAM: about 0.5 KB while loaded, beside
the values.
"""

from micropython import const
from ujson import loads

_DEEPEST = const(12)


class Scan:
    """Takes JSON piece by piece; `values` has what was found of *wanted*: name → value.

    A value's name is that of what it is in, a point, and its own; nothing stands for the place in
    an array, and for what is in one: "a." and ".b" for {"a": [{"b": 1}]}. In *wanted* there is a
    space before and behind each. Of several of one name the last counts. The value of an object or
    array is how many there are of its name. What cannot be read raises ValueError or TypeError.
    """

    def __init__(self, wanted):
        self.values = {}
        self.is_over = False  # whether the whole is there
        self._wanted = wanted
        self._path = []  # the name of each object and array that is open
        self._kinds = b""  # what each of them is, "{" or "["
        self._name = ""  # of the value that is to come
        self._is_name = False  # whether a name is to come

    def take(self, buffer, end):
        """Look at the first *end* bytes of *buffer*, a bytearray; return how many had their use.

        The others are to be given again, with more behind them.
        """
        at = 0
        while at < end and not self.is_over:
            c = buffer[at]
            if c == 34:
                stop = _string_end(buffer, at, end)
                if not stop:
                    break
                if self._is_name:
                    self._name = bytes(memoryview(buffer)[at + 1 : stop - 1]).decode()
                else:
                    self._value(buffer, at, stop)
                at = stop
                continue
            if c > 44 and c not in b":[]{}":
                stop = at + 1
                while stop < end and buffer[stop] not in b",]} \t\r\n":
                    stop += 1
                if stop == end:
                    break
                self._value(buffer, at, stop)
                at = stop
                continue
            at += 1
            if c == 58:
                self._is_name = False
            elif c == 44:
                self._is_name = self._kinds[-1:] == b"{"
            elif c == 123 or c == 91:
                name = self._wanted_name()
                if name:
                    self.values[name] = self.values.get(name, 0) + 1
                if len(self._path) == _DEEPEST:
                    raise ValueError("too deep")
                self._path.append(self._name)
                self._kinds += bytes((c,))
                self._name = ""
                self._is_name = c == 123
            elif c == 125 or c == 93:
                if self._kinds[-1:] != (b"{" if c == 125 else b"["):
                    raise ValueError("no JSON")
                self._kinds = self._kinds[:-1]
                self._path.pop()
                self._name = ""
                self.is_over = not self._path
            elif c > 32:
                raise ValueError("no JSON")
        return at

    def _value(self, buffer, at, stop):
        # Takes the text, number or word that is there.
        if not self._kinds:
            raise ValueError("no object")
        name = self._wanted_name()
        if name:
            self.values[name] = loads(bytes(memoryview(buffer)[at:stop]))

    def _wanted_name(self):
        # The whole name of the value that is to come; None if it is of no interest.
        name = (self._path[-1] if self._path else "") + "." + self._name
        return name if " %s " % name in self._wanted else None


def _string_end(buffer, at, end):
    # Where the string ends that begins at *at*; 0: not here.
    stop = at
    while True:
        stop = buffer.find(b'"', stop + 1, end)
        if stop < 0:
            return 0
        escapes = 0
        while buffer[stop - 1 - escapes] == 92:
            escapes += 1
        if not escapes & 1:
            return stop + 1
