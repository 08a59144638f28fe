"""The parameters in the value of an HTTP header. RAM: about 100 bytes while loaded."""


def parameter(value, name):
    """Return the parameter *name* of the header *value*, without quotes; None if it is missing.

    All are bytes. A value is like `form-data; name="image"` or `Digest realm="x", nc=00000001`.
    """
    at = 0
    while True:
        equals = value.find(b"=", at)
        if equals < 0:
            return None
        words = value[at:equals].replace(b",", b" ").replace(b";", b" ").split()
        at = equals + 1
        if value[at : at + 1] == b'"':
            start = at + 1
            at = value.find(b'"', start)
            while at > 0 and value[at - 1] == 92:  # a quote behind a backslash is part of the text
                at = value.find(b'"', at + 1)
            if at < 0:
                return None
            end = at
            at += 1
        else:
            start = at
            while at < len(value) and value[at] not in b",; \t":
                at += 1
            end = at
        if words and words[-1].lower() == name:
            return value[start:end]
