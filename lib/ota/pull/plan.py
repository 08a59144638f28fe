"""Decide when the board asks its server next; loaded at the start, and when a question has ended.

RAM: about 300 bytes while loaded.
"""

from micropython import const

from .. import log

_INTERVAL_S = const(3600)
# After a start, boards ask within so many seconds, each at its own time.
_FIRST_S = const(60)
# The pause after a failure, doubled with each more in a row, and the longest.
_RETRY_S = const(30)
_LONGEST_S = const(86400)


def plan_first(service):
    """Plan the first question of this boot for *service*, an HTTPUpdate.

    Where the board has left the application out for an update and failed, the pause goes on that
    grows with each failure.
    """
    url = service.own_url
    if url:
        from ..hal import has_keys
        from .resume import Place

        if url[:8] != "https://" and not has_keys():
            text = "pull: plain http and no key: whoever is on the way can send this board anything"
            log.error(text)

        service.failures = Place(url).failures
        if service.failures:
            plan(service, 0)
        else:
            service.deadline = int(min(_FIRST_S, _interval_s(service)) * _share())


def plan(service, wait_s):
    """Plan the next question for *service*, after *wait_s* at least, as its server wishes."""
    ota = service.ota
    if not service.own_url:
        service.deadline = None
    else:
        pause_s = _interval_s(service)
        if service.failures:
            retry_s = min(int(pause_s), _RETRY_S)
            pause_s = min(retry_s << min(service.failures - 1, 12), _LONGEST_S)
        # Up to a tenth more or less, so that boards which started together ask one by one.
        pause_s = int(pause_s * (0.9 + 0.2 * _share()))
        service.deadline = ota.uptime_s + max(1, pause_s, min(wait_s, _LONGEST_S))


def _interval_s(service):
    return service.interval_s or service.ota.settings.get("update_interval_s", _INTERVAL_S)


def _share():
    # Returns a number from 0 to 1 for this board; boards with similar ids get very different ones.
    from ..hal import chip_id

    return (int(chip_id(), 16) * 40503 & 0xFFFF) / 0xFFFF
