"""Updates from hawkBit, or from another server with its Direct Device Integration API (DDI): ask it
what to do, do it, and report the result. Protocol: docs/SPEC.md.

The pull client downloads the artifact like every image; pull.session calls this module before and
after that. talk.py sends the requests and reads the answers. The end of a deployment is reported
when its release was confirmed or taken back. Reports that are still due need not be stored: as long
as the server asks for the deployment, the boot record says how it ended. RAM: about 1 KB while
loaded.
"""

import gc
import sys

from micropython import const
from ubinascii import hexlify
from uhashlib import sha256
from ujson import dumps

from .. import log
from ..errors import OTAError

# Which release the last deployment has brought: "deployment 40 KEY brought 17".
_PATH = const("/.ota/ddi")
_LONGEST = const(96)  # bytes, of the file
_DETAIL_LIMIT = const(160)  # characters
_LONGEST_S = const(86400)  # between two questions

_OVER = const("ota.ddi.talk ota.pull.body ota.record ota.slots ota.hal")

_OF_A_POLL = const(b" polling.sleep _links.configData cancelAction.href deploymentBase.href ")
_OF_A_DEPLOYMENT = const(
    b" deployment.download deployment.update artifacts. download-http.href download.href "
    b"hashes.sha256 hashes.sha1 .size "
)

# One long text each, since short texts become names, which stay in the heap.
_ATTRIBUTES = const(
    '{"mode":"merge","data":{"name":%s,"version":%s,"sw_version":%s,"sequence":"%d",'
    '"firmware":"%d.%d.%d","mac":"%s","heap":"%d"}}'
)
_FEEDBACK = const(
    '{"id":"%s","status":{"execution":"%s","result":{"finished":"%s"},"details":[%s]}}'
)
_PROCEEDING = const("proceeding none")
_SUCCESS = const("closed success")
_FAILURE = const("closed failure")
_REJECTED = const("rejected none")

_NO_DDI = const(-110)
_NOT_FOR_US = const(-111)
# After these errors a deployment has failed for good; so it has after errors of the Updater, except
# for those that may not occur at the next try.
_FINAL = const((-100, -106, _NOT_FOR_US))
_PASSING = const((6, 14, 15, 32, 33, 34))


def asking(session):
    """Ask what there is to do, and do it, except for the download of a new release.

    A generator whose value is whether a download must follow.
    """
    service = session.service
    answer = yield from _ask(session, "", "", _OF_A_POLL)
    if answer is None:
        return False
    sleep, wants_attributes, cancel, deploy = answer
    try:
        hours, minutes, seconds = [int(n) for n in sleep.split(":")]
        seconds += (hours * 60 + minutes) * 60
        service.interval_s = min(max(seconds, 1), _LONGEST_S)
    except (AttributeError, ValueError):
        pass  # as before
    service.validator = None if wants_attributes or cancel or deploy else session.validator
    if wants_attributes:
        yield from _ask(session, "/configData", _attributes(service.ota))
    if cancel:
        session.action = _number(cancel, "/cancelAction/")
        how, text = _SUCCESS, "it is canceled"
        if _result(session, None):
            # It is not taken out again. How it ends is told when the server asks for it once more.
            how, text = _REJECTED, "it is installed"
        yield from _say(session, how, text, "/cancelAction/")
        session.action = ""
    elif deploy:
        session.action = _number(deploy, "/deploymentBase/")
        return (yield from _prepare(session))
    return False


def ending(session, is_installed):
    """Note which release the deployment has brought, or tell the server how it has ended."""
    sequence = session.sequence
    if is_installed:
        try:
            with open(_PATH, "w") as f:
                f.write("deployment %s %s brought %d" % (session.action, session.key, sequence))
        except OSError as e:  # the board will ask for the artifact once more
            log.error("ddi: %s: %r", _PATH, e)
    else:
        result = _result_of(sequence)
        if result and result[0]:
            yield from _say(session, *result)


def failed(session, code, text):
    """Tell the server that the deployment has failed with *code*, or that it may continue later."""
    is_final = code in _FINAL or code > 0 and code not in _PASSING
    yield from _say(session, _FAILURE if is_final else _PROCEEDING, text)


def _prepare(session):
    # Reads the deployment; returns whether its file must be fetched. A generator.
    path = "/deploymentBase/" + session.action
    download, update, count, url, other, sha, sha1, size = yield from _ask(
        session, path, "", _OF_A_DEPLOYMENT
    )
    if download == "skip" or update == "skip":
        return False  # the time for it is still to come
    if not url or other and session.url[:8] == "https://":
        url = other
    if count != 1 or not url:
        raise OTAError(_NOT_FOR_US, "%s artifacts, it takes one" % count)
    session.sha256 = str(sha or "")
    facts = repr((session.url, sha, sha1, size)).encode()
    session.key = hexlify(sha256(facts).digest()[:8]).decode()
    session.address = str(url)
    result = _result(session, session.key)
    if not result:
        return (yield from _say(session, _PROCEEDING, "downloading"))
    if result[0]:
        yield from _say(session, *result)
    return False


def _number(href, kind):
    # The number of an action, from its address.
    number = (str(href).split(kind) + [""])[1].split("?")[0].split("/")[0]
    if not number.isdigit() or len(number) > 19:
        raise OTAError(_NO_DDI, "an action without a number")
    return number


def _say(session, how, text, kind="/deploymentBase/"):
    # Reports the state of the action; returns whether the server knows it. A generator.
    action = session.action
    log.info("ddi: action %s: %s: %s", action, how, text)
    body = _FEEDBACK % ((action,) + tuple(how.split(" ")) + (dumps(text[:_DETAIL_LIMIT]),))
    try:
        yield from _ask(session, "%s%s/feedback" % (kind, action), body)
    except OTAError:
        if session.status not in (404, 410):
            raise
        return False
    return True


def _ask(session, path, body, wanted=None):
    unload = session.service.ota.unload
    unload(*_OVER.split())
    from .talk import asking

    try:
        return (yield from asking(session, path, body, wanted))
    finally:
        asking = None
        session.close_tcp()
        unload(*_OVER.split())


def _attributes(ota):
    # Returns the text that describes the board: hawkBit's attributes, which are all texts.
    from .. import hal, slots

    manifest = slots.manifest_of(ota.slot) if ota.slot else {}
    version = dumps(manifest.get("version", ""))
    facts = dumps(manifest.get("name", "")), version, version, manifest.get("sequence", 0)
    facts += tuple(sys.implementation.version[:3])
    return _ATTRIBUTES % (facts + (hexlify(hal.macs()[0], ":").decode(), gc.mem_free()))


def _result(session, key):
    # What has become of what the session's deployment has brought, as `_result_of` has it; None
    # where that is not known. Where *key* is None, of the last deployment with that number.
    try:
        with open(_PATH) as f:
            _, action, its_key, _, sequence = f.read(_LONGEST).split(" ")
        if action == session.action and key in (None, its_key):
            return _result_of(int(sequence))
    except (OSError, ValueError):
        pass  # it is not there, or damaged
    return None


def _result_of(sequence):
    # What has become of the release *sequence*: how it ended, and why. How it ended is "" while it
    # waits for a restart; None: the board has not got it.
    from ..record import load_for_update

    boot_record = load_for_update()
    outcome = boot_record.outcome
    for slot in (boot_record.trial, boot_record.active):
        if slot and boot_record.received[slot][0] == sequence:
            if slot == boot_record.trial:
                return "", ""
            confirmed = outcome == "confirmed: %d" % sequence
            return _SUCCESS, outcome if confirmed else "it runs already"
    if boot_record.rejected == sequence:
        start = "taken back: %d:" % sequence
        is_why = outcome[: len(start)] == start
        return _FAILURE, outcome if is_why else "it was taken back before"
    return None
