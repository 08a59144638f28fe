"""Downloads that break, and go on where they stopped: at once, after a reset, after a power cut."""

import hashlib
import shutil
import struct

import pytest
import web_site
from mpota.board.flash import IMAGE_LIMIT_BYTES
from mpota.board.record import NO_SLOT
from pulling import NO_UPDATES, PullingDevice, an_image
from web_site import StrongFile, WebSite, file, head, md5

STATE = "/.ota/pull"
STEP_BYTES = 16384
SILENCE = {"timeout_ms": 400}
WAYS = (web_site.close, web_site.reset, web_site.be_silent)


@pytest.fixture(scope="module")
def site():
    with WebSite() as site:
        yield site


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """Yield a board that the tests of the module share; some restart it."""
    with PullingDevice(tmp_path_factory.mktemp("resume")) as device:
        yield device
        assert device.board.violation == ""


@pytest.fixture
def data(device):
    """Return a release that the board does not know yet, of 23 KB."""
    return device.trial_image(22_000)


@pytest.fixture
def large(device):
    """Return a release that the board does not know yet, of 61 KB."""
    return device.trial_image(60_000)


def restarted(device, start):
    """Wait until the board takes commands, outside a trial; its boot begins at line *start*."""
    device.board.wait_for("takes commands", start=start)
    if device.record.trial != NO_SLOT:
        device.board.wait_for("is confirmed", start=start)


# Breaks


@pytest.mark.campaign
@pytest.mark.parametrize("how", WAYS, ids=["FIN", "RST", "silence"])
def test_a_download_that_breaks_anywhere_goes_on_there(
    device, site, data, campaign, how, record_property
):
    # Before 256 bytes have come, no update has begun that could be resumed.
    offsets = [256 + n * (len(data) - 256) // 200 for n in range(200)]
    ran = campaign.sample(f"resume {how.__name__}", offsets, 8)
    for at in ran:
        page = StrongFile(data, [at], how)
        timeout_ms = 400 if how is web_site.be_silent else 4000
        device.installs(site.add("/breaks", page), data, timeout_ms=timeout_ms)
        # The server did not send again what had come before the break, with two exceptions. A reset
        # throws some bytes away, and on a busy machine bytes may come so slowly that the board
        # takes this for silence.
        assert page.sent == len(data) if how is web_site.close else page.sent < 2 * len(data)
    name = {"close": "FIN", "reset": "RST", "be_silent": "silence"}[how.__name__]
    record_property(f"downloads resumed after {name}", f"{len(ran)}/{len(offsets)}")


@pytest.mark.campaign
@pytest.mark.parametrize("how", WAYS, ids=["FIN", "RST", "silence"])
def test_without_an_etag_a_break_anywhere_ends_the_update(device, site, data, campaign, how):
    offsets = [n * len(data) // 200 for n in range(200)]
    for at in campaign.sample(f"end {how.__name__}", offsets, 8):
        page = StrongFile(data, [at], how, etag="")
        url = site.add("/ends", page)
        before = len(site.asked("/ends"))
        device.fails(url, -11 if how is web_site.be_silent else -5, **SILENCE)
        assert len(site.asked("/ends")) == before + 1
    device.installs(site.add("/ends", file(data)), data)


def test_a_connection_that_breaks_again_and_again_is_enough_if_each_brings_something(
    device, site, data
):
    steps = range(5000, len(data), 4500)
    page = StrongFile(data, steps)
    device.installs(site.add("/steps", page), data, **SILENCE)
    assert [request.start for request in site.asked("/steps")] == [0, *steps]


def test_after_four_breaks_in_a_row_without_progress_the_update_fails(device, site, data):
    page = StrongFile(data, [9000, 9100, 9200, 9300, 9400])
    outcome = device.fails(site.add("/stuck", page), -5, **SILENCE)
    assert outcome.events[-2:] == ["error -5", "pull error -5"]
    assert outcome.events.count("start") == 1
    assert [request.start for request in site.asked("/stuck")] == [0, 9000, 9100, 9200, 9300]


def test_a_server_that_is_gone_for_a_moment_is_asked_again(device, site, data):
    with WebSite("127.0.0.4") as other:
        url = other.add("/gone", StrongFile(data, [9000]))
        start = device.command("setattr(ota.pull, 'timeout_ms', 4000)")
        device.command(f"ota.pull.check({url!r})")
        at = device.line("broken off after 9000", start)
    try:
        device.board.wait_for("broken off after 9000", start=at + 1)  # no server is there now
        with WebSite(*other.address) as again:
            again.add("/gone", StrongFile(data))
            device.board.wait_for("pull: updated", start=at)
            assert again.asked("/gone")[-1].start == 9000
    finally:
        device.command("delattr(ota.pull, 'timeout_ms') or delattr(ota.pull, 'url')")


# After a reset


def break_off(device, site, path, data, at=40_000, **headers):
    """Leave the beginning of *data* in the idle slot, as far as *at*; return the address."""
    page = StrongFile(data, [at] * 5, **headers)
    url = site.add(path, page)
    device.fails(url, -5, **SILENCE)
    return url


@pytest.mark.parametrize("how", ["reset", "power"])
def test_a_download_goes_on_after(device, site, large, how):
    path = f"/after-{how}"
    url = break_off(device, site, path, large)
    assert STATE in device.files()
    restarted(device, device.boot(how))
    page = StrongFile(large)
    site.add(path, page)
    device.installs(url, large)
    last = site.asked(path)[-1]
    assert last.start == 32768 and last.headers["if-range"] == page.etag
    assert page.sent == len(large) - 32768


def test_what_goes_on_is_compared_as_a_whole(device, site, large):
    url = break_off(device, site, "/spoiled", large, x_MD5=md5(b"other"))
    site.add("/spoiled", StrongFile(large, x_MD5=md5(b"other")))
    outcome = device.fails(url, 7)
    assert outcome.text.startswith("Update error: ERROR[7]: MD5")
    # A downloaded file that cannot be used is not resumed: the board starts from byte 0.
    site.add("/spoiled", StrongFile(large, x_MD5=md5(large)))
    device.installs(url, large)
    assert site.asked("/spoiled")[-1].start == 0


def test_the_date_of_the_last_change_does_for_an_etag(device, site, large):
    date = "Wed, 25 Nov 2026 10:00:00 GMT"
    url = site.add("/dated", StrongFile(large, [40_000] * 5, etag="", Last_Modified=date))
    device.fails(url, -5, **SILENCE)
    device.installs(url, large)
    last = site.asked("/dated")[-1]
    assert last.start == 32768 and last.headers["if-range"] == date


def test_a_weak_etag_resumes_nothing(device, site, large):
    page = StrongFile(large, [40_000], etag='W/"1"')
    url = site.add("/weak", page)
    device.fails(url, -5, **SILENCE)
    device.installs(url, large)
    assert [request.start for request in site.asked("/weak")] == [0, 0]


def test_a_file_that_has_changed_is_fetched_from_its_beginning(device, site, large):
    url = break_off(device, site, "/changed", large)
    other = device.trial_image(60_000)
    page = StrongFile(other)
    site.add("/changed", page)
    device.installs(url, other)
    # The board asked for the rest of the old file, and the answer was the whole new one.
    last = site.asked("/changed")[-1]
    assert last.start == 32768 and last.headers["if-range"] == StrongFile(large).etag != page.etag


def test_a_file_that_changes_in_between_ends_the_update_and_the_next_one_starts_over(
    device, site, large
):
    other = device.trial_image(60_000)
    pages = iter([StrongFile(large, [40_000]), StrongFile(other)])
    url = site.add("/changing", lambda connection, request: next(pages)(connection, request))
    assert "not the rest" in device.fails(url, -104, **SILENCE).text
    site.add("/changing", StrongFile(other))
    device.installs(url, other)


def test_two_servers_that_disagree_are_one_in_the_end(device, site, large):
    # Two servers behind one name answer by turns. They have the same file with different ETags.
    servers = [StrongFile(large, [40_000], etag='"a"'), StrongFile(large, etag='"b"')]
    turns = []

    def by_turns(connection, request):
        turns.append(1)
        servers[(len(turns) - 1) % 2](connection, request)

    url = site.add("/turns", by_turns)
    assert "not the rest" in device.fails(url, -104, **SILENCE).text
    device.installs(url, large, **SILENCE)


@pytest.mark.parametrize(
    ("line", "headers"),
    [("206 Partial Content", {"Content_Length": 1000, "Content_Range": "bytes 0-999/{size}"}),
     ("206 Partial Content", {"Content_Length": 1000}),
     ("416 Range Not Satisfiable", {"Content_Length": 0}),
     ("206 Partial Content", {"Content_Length": 9999, "Content_Range": "bytes 32768-{last}/*"}),
     ("206 Partial Content", {"Content_Range": "bytes 32768-{last}/{size}"})],
    ids=["other part", "no range", "416", "other size", "no length"],
)  # fmt: skip
def test_a_part_that_was_not_asked_for_is_not_taken(device, site, large, line, headers):
    page = StrongFile(large)
    numbers = {"size": len(large), "last": len(large) - 1}
    headers = {name: str(value).format(**numbers) for name, value in headers.items()}

    def odd(connection, request):
        if request.start:
            connection.sendall(head(line, ETag=page.etag, **headers) + b"x" * 1000)
        else:
            page(connection, request)

    url = break_off(device, site, "/odd", large)
    site.add("/odd", odd)
    device.installs(url, large)
    assert [request.start for request in site.asked("/odd")][-2:] == [32768, 0]


def test_a_server_without_ranges_sends_all_again(device, site, large):
    url = break_off(device, site, "/whole", large)
    site.add("/whole", file(large, ETag=StrongFile(large).etag))
    device.installs(url, large)
    assert site.asked("/whole")[-1].start == 32768


def test_another_update_in_between_is_noticed_in_the_slot(device, site, large):
    url = break_off(device, site, "/between", large)
    device.fails(site.add("/other", file(device.trial_image(20_000)[:9000])), 37)
    start = device.said
    site.add("/between", StrongFile(large))
    device.installs(url, large)
    assert site.asked("/between")[-1].start == 0
    device.board.wait_for("holds something else", start=start)


def test_another_address_does_not_go_on_with_it(device, site, large):
    break_off(device, site, "/here", large)
    device.installs(site.add("/there", StrongFile(large)), large)
    assert site.asked("/there")[-1].start == 0


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: data[:-1], lambda data: data[:33] + b"\xc0" + data[34:],
     lambda data: b"\xff" * 300, lambda data: data * 3],
    ids=["empty", "cut", "changed", "blank", "long"],
)  # fmt: skip
def test_a_damaged_file_counts_as_none(device, site, large, spoil):
    url = break_off(device, site, "/damaged", large)
    start = device.change_files(lambda files: files.update({STATE: spoil(files[STATE])}))
    restarted(device, start)
    site.add("/damaged", StrongFile(large))
    device.installs(url, large)
    assert site.asked("/damaged")[-1].start == 0


def test_the_file_says_what_the_specification_says(device, site, large):
    url = break_off(device, site, "/said", large)
    chained = bytes(16)
    for at in (0, STEP_BYTES):
        chained = hashlib.sha256(chained + large[at : at + STEP_BYTES]).digest()[:16]
    address, file = hashlib.sha256(url.encode()).digest()[:4], hashlib.sha256().digest()[:4]
    body = struct.pack("<4s4s4s16sIIIB", b"MPL1", address, file, chained, len(large), 32768, 0, 0)
    body += StrongFile(large).etag.encode()
    assert device.files()[STATE] == body + hashlib.sha256(body).digest()[:8]


@pytest.mark.parametrize(("length", "starts"), [(79, [0, 32768]), (80, [0, 0])])
def test_an_etag_that_is_too_long_for_the_file_resumes_nothing(device, site, large, length, starts):
    etag = '"' + "x" * (length - 2) + '"'
    path = f"/etag-{length}"
    url = site.add(path, StrongFile(large, [40_000] * 5, etag=etag))
    device.fails(url, -5, **SILENCE)
    site.add(path, StrongFile(large, etag=etag))
    device.installs(url, large)
    assert len(device.files()[STATE]) <= 128
    assert [site.asked(path)[0].start, site.asked(path)[-1].start] == starts


def test_an_etag_that_no_header_could_hold_keeps_no_later_question_back(device, site):
    running = device.slot(device.record.active)[:IMAGE_LIMIT_BYTES]
    page = file(running, ETag='"a\rb"')
    url = site.add("/return", page)
    for _ in range(2):
        assert device.update(url).result == str(NO_UPDATES)
    assert "if-none-match" not in site.asked("/return")[-1].headers


def test_an_update_does_not_fail_for_want_of_the_file(device, site, large):
    # There is a folder in the place of the file that says how far a download has come.
    def spoil(files):
        files.pop(STATE, None)
        files[STATE + "/x"] = b""

    restarted(device, device.change_files(spoil))
    device.installs(site.add("/no-place", StrongFile(large, [40_000])), large, **SILENCE)
    restarted(device, device.change_files(lambda files: files.pop(STATE + "/x")))
    break_off(device, site, "/place", device.trial_image(60_000))
    assert STATE in device.files()


def test_an_update_that_keeps_its_place_programs_little_more_than_its_size(device, site, large):
    before = device.board.programmed_bytes
    device.installs(site.add("/once", StrongFile(large)), large)
    assert device.board.programmed_bytes - before <= 1.05 * len(large)


# Power cuts


def _broken_off_flash(folder, site, image):
    # Returns a board's flash whose idle slot has the first 32768 bytes of *image*.
    with PullingDevice(folder) as device:
        break_off(device, site, "/cut", image)
        return device.board.flash


def _resume(device, site, cut=None):
    # Lets a board go on with the download. Returns how many flash operations this took.
    device.board.cut_power_after(cut)
    before = device.board.operations
    url = site.url + "/cut"
    start = device.said
    try:
        device.update(url, **SILENCE)
    except TimeoutError:
        assert cut is not None and device.board.power_failed
    assert not [line for line in device.board.lines[start:] if "Traceback" in line]
    return device.board.operations - before


@pytest.mark.campaign
def test_a_power_cut_before_any_operation_of_a_resumed_download_leaves_all_well(
    tmp_path, site, campaign, record_property
):
    image = an_image(2, 60_000)
    for name in ("first", "again"):
        (tmp_path / name).mkdir()
    broken_off = _broken_off_flash(tmp_path / "first", site, image)
    site.add("/cut", StrongFile(image))
    with PullingDevice(tmp_path / "again") as device:

        def start():
            device.board.power_off()
            shutil.copy(broken_off, device.board.flash)
            said = device.said
            device.board.power_on()
            device.board.wait_for("takes commands", start=said)

        start()
        total = _resume(device, site)
        cuts = campaign.sample("power cuts of a resumed download", range(total), 5)
        for cut in cuts:
            start()
            _resume(device, site, cut)
            assert device.board.wait_for_power_cut()
            device.board.cut_power_after(None)
            said = device.said
            device.board.power_on()
            ran = device.board.wait_for(r"app (\d+) runs", start=said)[1]
            device.board.wait_for("takes commands", start=said)
            # If the power was cut after the record had been written, the new version runs already.
            if ran == "1":
                device.installs(site.url + "/cut", image, **SILENCE)
                said = device.boot()
            device.board.wait_for("app 2 runs", start=said)
        record_property("power cuts of a resumed download", f"{len(cuts)}/{total}")
