"""What a board asks hawkBit, does for it, and tells it. RAM: about 1 KB while loaded.

A deployment is told to have ended when the board has come to its end: its release is confirmed or
taken back. So nothing is kept of what is still to be told: as long as the server asks for the
deployment, the boot record says how it ended.
"""

import gc
import sys

from micropython import const
from ubinascii import hexlify
from uhashlib import sha256
from ujson import dumps

from .. import log
from ..errors import OTAError

# Which release the last deployment has brought.
_PATH = const("/.ota/ddi")
_LONGEST = const(96)  # bytes, of the file
_DETAIL_LIMIT = const(160)  # characters
_LONGEST_S = const(86400)  # between two questions

_OF_A_POLL = const(" polling.sleep _links.configData cancelAction.href deploymentBase.href ")
_OF_A_DEPLOYMENT = const(
    " deployment.download deployment.update artifacts. .size hashes.sha1 hashes.sha256 "
    "download.href download-http.href "
)

_PROCEEDING = const("proceeding")
_CLOSED = const("closed")

_NO_DDI = const(-110)
_NOT_FOR_US = const(-111)
# After these a deployment has failed for good; so it has after errors of the Updater, but for
# those that may have passed at the next try.
_FINAL = const((-100, -106, _NOT_FOR_US))
_PASSING = const((6, 14, 15, 32, 33, 34))


def asking(session):
    """Ask what there is to do, and do it, but for the download of a new release.

    A generator whose value is whether that is to follow.
    """
    service = session.service
    answer = yield from _exchanging(session, "", "", _OF_A_POLL)
    if answer is None:
        return False
    try:
        hours, minutes, seconds = [int(n) for n in answer["polling.sleep"].split(":")]
        sleep = (hours * 60 + minutes) * 60 + seconds
        service.interval_s = min(max(sleep, 1), _LONGEST_S)
    except (AttributeError, KeyError, ValueError):
        pass  # as before
    service.etag = session.validator
    if "_links.configData" in answer:
        service.etag = None
        yield from _exchanging(session, "/configData", _attributes(service.ota))
    for kind in ("/cancelAction/", "/deploymentBase/"):
        href = answer.get(kind[1:-1] + ".href")
        if href:
            service.etag = None
            action = (str(href).split(kind) + [""])[1].split("?")[0].split("/")[0]
            if not action.isdigit() or len(action) > 19:
                raise OTAError(_NO_DDI, "an action without a number")
            answer = href = None
            if kind == "/cancelAction/":
                yield from _canceling(session, action)
                return False
            session.action = action
            return (yield from _deploying(session))
    return False


def ending(session, is_installed):
    """Note which release the deployment has brought, or tell what became of that before."""
    if is_installed:
        try:
            with open(_PATH, "w") as f:
                f.write("%s %s %d" % (session.action, session.key, session.sequence))
        except OSError as e:  # the board will ask for the artifact once more
            log.error("ddi: %s: %r", _PATH, e)
    else:
        yield from _telling_result(session, session.sequence)


def failing(session, code, text):
    """Tell that the deployment has failed by the error *code*, or may go on later."""
    is_final = code in _FINAL or code > 0 and code not in _PASSING
    try:
        if is_final:
            yield from _telling(session, _CLOSED, "failure", text)
        else:
            yield from _telling(session, _PROCEEDING, "none", text)
    except Exception as e:  # the next question tells it
        log.error("ddi: action %s: not told: %r", session.action, e)


def _deploying(session):
    answer = yield from _exchanging(
        session, "/deploymentBase/" + session.action, "", _OF_A_DEPLOYMENT
    )
    get = answer.get
    if "skip" in (get("deployment.download"), get("deployment.update")):
        return False  # the time for it is still to come
    count = get("artifacts.", 0)
    url, other = get("download-http.href"), get("download.href")
    if not url or other and session.url[:5] == "https":
        url = other
    if count != 1 or not url:
        raise OTAError(_NOT_FOR_US, "%s artifacts, it takes one" % count)
    session.sha256 = str(get("hashes.sha256") or "")
    key = session.url, session.sha256, get("hashes.sha1"), get(".size")
    session.key = hexlify(sha256(repr(key).encode()).digest()[:8]).decode()
    session.asked = str(url)
    get = answer = None
    if (yield from _telling_result(session, _noted(session.action, session.key))):
        return False
    return (yield from _telling(session, _PROCEEDING, "none", "download"))


def _canceling(session, action):
    # What is installed is not taken out again. How it ended is told when the server asks for the
    # deployment once more.
    path = "/cancelAction/" + action
    if _result_of(_noted(action, None)):
        yield from _telling(session, "rejected", "none", "it is installed", path)
    else:
        yield from _telling(session, _CLOSED, "success", "canceled", path)


def _telling_result(session, sequence):
    # Tells what has become of the release *sequence*, if the board has it; returns whether it has.
    result = _result_of(sequence)
    if result and result[0]:
        yield from _telling(session, _CLOSED, *result)
    return bool(result)


def _telling(session, execution, finished, text, path=None):
    # Tells how far the action has come; returns whether the server knows of it.
    path = path or "/deploymentBase/" + session.action
    action = path.split("/")[-1]
    log.info("ddi: action %s: %s, %s: %s", action, execution, finished, text)
    result = {"finished": finished}
    status = {"execution": execution, "result": result, "details": [text[:_DETAIL_LIMIT]]}
    try:
        body = dumps({"id": action, "status": status})
        yield from _exchanging(session, path + "/feedback", body)
    except OTAError:
        if session.status not in (404, 410):
            raise
        return False
    return True


def _exchanging(session, path, body, wanted=None):
    session.leave()
    from .talk import exchanging

    try:
        return (yield from exchanging(session, path, body, wanted))
    finally:
        exchanging = None
        session.close_tcp()
        session.leave()


def _attributes(ota):
    # The text that tells what the board is: hawkBit's attributes, all of them texts.
    from .. import hal, slots

    manifest = slots.manifest_of(ota.slot) if ota.slot else {}
    facts = {name: str(manifest.get(name, "")) for name in ("name", "version", "sequence")}
    facts["sw_version"] = facts["version"]  # where goosebit looks for it
    facts["firmware"] = "%d.%d.%d" % sys.implementation.version[:3]
    facts["mac"] = hexlify(hal.macs()[0], ":").decode()
    facts["heap"] = str(gc.mem_free())
    return dumps({"mode": "merge", "data": facts})


def _noted(action, key):
    # The sequence of what the deployment *action* has brought; 0: it is not known. Where *key* is
    # None, that of the last deployment with that number counts.
    try:
        with open(_PATH) as f:
            number, its_key, sequence = f.read(_LONGEST).split(" ")
        if number == action and key in (None, its_key):
            return int(sequence)
    except (OSError, ValueError):
        pass  # it is not there, or damaged
    return 0


def _result_of(sequence):
    # What has become of the release *sequence*: how it ended, "success" or "failure", and why. How
    # it ended is "" while it waits for a restart; None: the board has not got it.
    if not sequence:
        return None
    from ..record import load_for_update

    boot_record = load_for_update()
    outcome = boot_record.outcome
    for slot in (boot_record.trial, boot_record.active):
        if slot and boot_record.received[slot][0] == sequence:
            if slot == boot_record.trial:
                return "", ""
            return "success", outcome if outcome == "confirmed: %d" % sequence else "it runs"
    if boot_record.rejected == sequence:
        start = "taken back: %d:" % sequence
        is_why = outcome[: len(start)] == start
        return "failure", outcome if is_why else "it was taken back before"
    return None
