"""A question to hawkBit, or to another server that has its Direct Device Integration API (DDI):
what the board is to do, and what came of it. Protocol: docs/SPEC.md.

The artifact is fetched as pull fetches every image. What is asked and told is in act.py, how in
talk.py, and answers are read in scan.py; they are loaded one after the other. RAM: about 0.5 KB
while the board asks, beside pull's.
"""

from micropython import const

from ..pull.session import Session as Question

_OVER = const("ota.ddi.act ota.ddi.talk ota.ddi.scan ota.pull.resume ota.record ota.slots ota.hal")


class Session(Question):
    """A question to hawkBit, of which *url* is the tenant's address, as `http://host/DEFAULT`."""

    key = None  # tells the deployment that goes on from others with its number

    def finding(self):
        """Do what the server wishes; a generator whose value is the result."""
        from .act import asking

        fetches = yield from asking(self)
        asking = None
        self.leave()
        if not fetches:
            return self.service.NO_UPDATES
        self.method = "GET"
        self.tail = b"\r\n"
        result = yield from Question.finding(self)
        self.close_tcp()
        if result != self.service.OK:
            self.unload()
        from .act import ending

        yield from ending(self, result == self.service.OK)
        return result

    def telling(self, code, text):
        """Tell the server why the deployment has failed: by the error *code*. A generator."""
        from .act import failing

        yield from failing(self, code, text)
        failing = None
        self.leave()

    def leave(self):
        """Take out of memory what has had its use: what comes now needs its place."""
        self.service.ota.unload(*_OVER.split())
