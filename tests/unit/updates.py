"""Updates on the board, for the tests that run there: before, during, and after one."""

import os

import ota
from ota import slots
from ota.record import Record, load
from ota.updater import Updater, signature
from sample_image import clear_slot, content_of, fill_slot, image, marks_of, runs

_ACCEPTED = b"ACPT" + b"\xff" * 4


def prepare_board(slot="a", **fields):
    """Let the board run *slot*, without keys; release 5 lies in the other slot.

    *fields* are those of its boot record that are not as they would be then.
    """
    try:
        os.remove(signature.KEYS)
    except OSError:
        pass
    clear_slot(slot)
    fill_slot("b" if slot == "a" else "a", image(5))
    runs(slot)
    r = Record()
    r.active = slot
    for name in fields:
        setattr(r, name, fields[name])
    r.store()


def new_updater():
    """Return an Updater that takes images of any application."""
    services = ota.OTA()
    services.settings = {"app": "*"}
    return Updater(services)


def send(u, data, size=None, chunk=1460, **end):
    """Update with *data* in chunks; *size* is announced, *end* are the arguments of `end()`."""
    u.begin(len(data) if size is None else size)
    for at in range(0, len(data), chunk):
        u.write(data[at : at + chunk])
    u.end(**end)


def is_on_trial(content, slot="b"):
    """Tell whether *content* lies in *slot* and is on trial."""
    return (
        load().trial == slot
        and marks_of(slot) == _ACCEPTED
        and content_of(slot, len(content)) == content
    )


def is_unharmed():
    """Tell whether slot b still holds release 5 of prepare_board()."""
    return slots.is_usable("b", bytearray(1024)) and slots.manifest_of("b")["sequence"] == 5
