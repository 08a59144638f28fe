"""The status of the board, as the update page shows it. Protocol: docs/SPEC.md.

RAM: about 0.3 KB while loaded, beside the modules that the status needs.
"""

from ..errors import OTAError


def status(connection, method, path, query, fields):
    """Answer with the status of the board, in JSON."""
    from ujson import dumps

    ota = connection.web.ota
    updater = ota.updater
    if updater:
        size = updater.progress + updater.remaining
        found = {"state": "updating", "done": updater.progress, "size": size}
    elif ota.is_updating:  # and the restart is near
        found = {"state": "updating"}
    else:
        from ..status import facts

        found = dict(facts(ota))
        found["hostname"] = ota.settings["hostname"]
        found["space"] = ota.free_space()
        found["open"] = not connection.is_proved
        found["before"] = _before(ota)
    yield from connection.answer(200, dumps(found), "application/json")


def _before(ota):
    # Returns the version that revert() would try; None if the slot's marks exclude one.
    from .. import slots
    from ..record import load

    boot_record = load()
    if boot_record and not boot_record.trial and slots.is_accepted(boot_record.idle):
        try:
            return slots.manifest_of(boot_record.idle)["version"]
        except OTAError:
            pass  # what is in that slot is not whole
    return None
