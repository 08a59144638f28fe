"""mDNS: the name is claimed and told, questions are answered, conflicts give way, nothing harms."""

from hardware_stubs import Reset
from mdns_stub import (
    AAAA,
    ANY,
    ARDUINO,
    GROUP,
    HTTP,
    NSEC,
    PEER,
    PTR,
    RESOLVER,
    SERVICES,
    SRV,
    TXT,
    A,
    Board,
    Page,
    message,
    question,
    record,
    wire,
)
from ota import begin, hal
from ota.mdns import talk

_ADDRESS = b"\xc0\xa8\x04\x09"
_DAY_MS = 24 * 3600 * 1000
_INSTANCE = "board." + ARDUINO
_OF_ARDUINO = [
    (SERVICES, PTR),
    (ARDUINO, PTR),
    (_INSTANCE, TXT),
    (_INSTANCE, SRV),
    ("board.local", A),
    ("board.local", NSEC),
]
_OF_HTTP = [(SERVICES, PTR), (HTTP, PTR), ("board." + HTTP, TXT), ("board." + HTTP, SRV)]

_PROBE = message(
    [question("board.local", ANY, 0x8001)], claims=[record("board.local", A, b"\1\2\3\4")]
)


def _other(name, kind=A, data=b"\1\2\3\4", ttl=120):
    # What another host says, which has this name.
    return message(answers=[record(name, kind, data, ttl, 0x8001)], flags=0x8400)


# The beginning


def test_the_names_are_asked_for_three_times_and_then_told_twice():
    with Board(is_new=True) as board:
        times = []
        while board.now < 5000:
            seen = len(board.net.sent)
            board.wait_for(10)
            times += [board.now // 10 * 10] * (len(board.net.sent) - seen)
        assert [b - a for a, b in zip(times, times[1:])] == [250, 250, 250, 1000]
        sent = board.sent()
        assert [address for _, address in sent] == [GROUP] * 5
        for asked, _ in sent[:3]:
            assert asked.flags == 0 and asked.answers == asked.more == []
            names = [_INSTANCE, "board.local"]
            assert asked.questions == [(name, ANY, 0x8001) for name in names]
            assert [r.what for r in asked.claims] == [(_INSTANCE, SRV), ("board.local", A)]
            assert [r.class_ for r in asked.claims] == [1, 1]
        for told, _ in sent[3:]:
            assert told.flags == 0x8400 and told.questions == []
            assert told.names == sorted(_OF_ARDUINO)
        assert board.lines == ["mdns: this board is board.local"]


def test_what_is_told():
    with Board(is_new=True, port=8267, password="geheim") as board:
        board.wait_for(1500)
        told = board.sent()[3][0]
        assert told["board.local", A].data == _ADDRESS
        assert told[_INSTANCE, SRV].data == (8267, "board.local")
        assert told[ARDUINO, PTR].data == _INSTANCE and told[SERVICES, PTR].data == ARDUINO
        texts = told[_INSTANCE, TXT].data
        assert texts == [
            "tcp_check=no",
            "ssh_upload=no",
            "board=ESP8266_GENERIC",
            "app=garden",
            "version=1.4.0",
            "state=idle",
            "auth_upload=yes",
        ]
        for r in told.answers:
            # PTR is of many boards; of all else, this board's is all there is.
            assert r.class_ == (1 if r.kind == PTR else 0x8001), r.what
            assert r.ttl == (4500 if r.kind in (PTR, TXT) else 120), r.what


def test_the_page_is_told_while_it_is_there():
    with Board(web_port=8080) as board:
        board.ota.own_web.socket = board.net
        board.wait_for(2000)
        (told, _), (again, _) = board.sent()
        assert told.names == again.names == sorted(_OF_ARDUINO + _OF_HTTP)
        assert told["board." + HTTP, SRV].data == (8080, "board.local")
        assert told["board." + HTTP, TXT].data == ["path=/update"]
        board.ota.own_web.socket = None
        board.wait_for(2000)
        (gone, _), (told, _), _ = board.sent()
        assert [(r.what, r.ttl) for r in gone.answers] == [
            (("board." + HTTP, SRV), 0),
            (("board." + HTTP, TXT), 0),
            ((HTTP, PTR), 0),
            ((SERVICES, PTR), 0),
        ]
        assert told.names == sorted(_OF_ARDUINO)


def test_a_change_of_state_is_told_twice():
    with Board() as board:
        board.ota.healthy = True
        board.wait_for(5000)
        told = [m[_INSTANCE, TXT].data for m, _ in board.sent()]
        assert len(told) == 2 and told[0] == told[1] and "state=healthy" in told[0]


def test_states():
    for change, state in (
        ({"trial": True}, "trial"),
        ({"is_alone": True, "healthy": True}, "alone"),
        ({"has_ended": True}, "services"),
        ({"slot": None, "healthy": True}, "services"),
        ({"healthy": True}, "healthy"),
    ):
        board = Board()
        for name in change:
            setattr(board.ota, name, change[name])
        with board:
            texts = board.asked(_INSTANCE, TXT)[_INSTANCE, TXT].data
            assert "state=" + state in texts, (state, texts)


def test_in_a_network_that_is_joined_again_the_name_is_claimed_again():
    with Board() as board:
        board.ota.joins += 1
        board.ota.station.address = "10.0.0.7"
        board.wait_for(3000)
        sent = [m for m, _ in board.sent()]
        assert [m.flags for m in sent] == [0, 0, 0, 0x8400, 0x8400]
        assert sent[4]["board.local", A].data == b"\x0a\0\0\7"


# Questions


def test_each_question_gets_its_answer_by_multicast():
    with Board() as board:
        for name, kind in _OF_ARDUINO + [(ARDUINO, ANY), (_INSTANCE, ANY), ("board.local", ANY)]:
            answer = board.asked(name, kind)
            found = [r for r in answer.answers if r.name == name and kind in (r.kind, ANY)]
            assert found, (name, kind)
            assert answer.names == sorted(_OF_ARDUINO)  # all that would be asked for next
            board.wait_for(1000)


def test_small_and_capital_letters_are_the_same():
    with Board(hostname="Board") as board:
        assert board.asked("bOARD.LOCAL", A)["board.local", A].data == _ADDRESS
        board.wait_for(1000)
        assert board.asked("_Arduino._TCP.local", PTR)[ARDUINO, PTR].data == _INSTANCE


def test_what_the_host_has_not_is_said():
    with Board() as board:
        there_is = board.asked("board.local", AAAA)["board.local", NSEC]
        assert there_is.data == "board.local"
        data = board.net  # the bitmap: block 0, one byte, type 1
        board.wait_for(1000)
        board.hears(message([question("board.local", AAAA)]), ms=0)
        board.wait_for(10)
        board.wait_for(200)
        assert data.sent[-1][0].find(b"\0\1\x40") > 0


def test_what_is_asked_of_others_gets_no_answer():
    with Board() as board:
        for name, kind, class_ in (
            ("other.local", A, 1),
            ("other." + ARDUINO, SRV, 1),
            ("boards.local", A, 1),
            ("board", A, 1),
            ("board.local.board.local", A, 1),
            ("board._ipp._tcp.local", SRV, 1),
            (HTTP, PTR, 1),  # there is no page
            (ARDUINO, A, 1),
            ("board.local", A, 3),
        ):
            assert board.hears(message([question(name, kind, class_)])) == [], name
        query = message([question("board.local", A)])
        for flags in (0x7800, 0x0800, 0x000F):  # not a query, or an error
            assert board.hears(message([question("board.local", A)], flags=flags)) == []
        assert len(board.hears(query)) == 1


def test_nothing_is_multicast_twice_in_a_second():
    with Board() as board:
        begun = board.now
        query = message([question(ARDUINO, PTR)])
        answers = 0
        while board.now - begun < 10000:
            answers += len(board.hears(query, ms=100))
        assert 9 <= answers <= 11, answers


def test_who_claims_this_name_is_answered_at_once():
    with Board() as board:
        board.asked("board.local", A)
        ((direct, to), (told, to_all)) = board.hears(_PROBE, ms=300)
        assert (to, to_all) == (PEER, GROUP)
        assert direct["board.local", A].data == told["board.local", A].data == _ADDRESS


def test_a_question_for_a_direct_answer_gets_one_and_all_hear_it_too():
    with Board() as board:
        ((direct, to), (told, to_all)) = board.hears(message([question(ARDUINO, PTR, 0x8001)]))
        assert (to, to_all) == (PEER, GROUP)
        assert direct.names == told.names == sorted(_OF_ARDUINO)
        assert direct.flags == 0x8400 and direct.questions == []


def test_a_resolver_that_knows_no_mdns_gets_what_it_asked_for_and_its_question():
    with Board() as board:
        query = message([question("board.local", A)], number=0x1234)
        ((direct, to), (told, to_all)) = board.hears(query, RESOLVER)
        assert (to, to_all) == (RESOLVER, GROUP)
        assert direct.number == 0x1234 and direct.flags == 0x8400
        assert direct.questions == [("board.local", A, 1)]
        ((_, ttl, class_),) = [(r.what, r.ttl, r.class_) for r in direct.answers]
        assert direct["board.local", A].data == _ADDRESS and ttl <= 10 and class_ == 1
        assert told.questions == []


def test_what_the_asking_host_knows_is_not_repeated():
    known = record(ARDUINO, PTR, wire(_INSTANCE), 2250)
    with Board() as board:
        assert board.hears(message([question(ARDUINO, PTR)], [known])) == []
        other = record(ARDUINO, PTR, wire("other." + ARDUINO), 4500)
        assert len(board.hears(message([question(ARDUINO, PTR)], [other]))) == 1
        board.wait_for(1000)
        old = record(ARDUINO, PTR, wire(_INSTANCE), 2249)
        assert len(board.hears(message([question(ARDUINO, PTR)], [old]))) == 1
        board.wait_for(1000)
        questions = [question(ARDUINO, PTR), question("board.local", A)]
        ((answer, _),) = board.hears(message(questions, [known]))
        assert answer.names == sorted([what for what in _OF_ARDUINO if what != (ARDUINO, PTR)])
        board.wait_for(1000)
        known_a = record("board.local", A, _ADDRESS, 60)
        assert board.hears(message([question("board.local", A)], [known_a])) == []
        srv = b"\0\0\0\0" + (8266).to_bytes(2, "big") + wire("board.local")
        known_srv = record(_INSTANCE, SRV, srv, 120)
        assert board.hears(message([question(_INSTANCE, SRV)], [known_srv])) == []


def test_of_a_query_that_was_cut_off_the_questions_are_answered():
    with Board() as board:
        known = record(ARDUINO, PTR, wire("another-board-with-a-long-name." + ARDUINO), 4500)
        query = message([question(ARDUINO, PTR)], [known] * 30)
        assert len(query) > 512
        ((answer, _),) = board.hears(query)
        assert answer.names == sorted(_OF_ARDUINO)


def test_questions_are_answered_after_days_without_one():
    for days in (1, 6, 7, 12, 13, 20):
        with Board() as board:
            # Without a call of handle() in between: the clock comes round.
            board.now += days * _DAY_MS
            board.asked("board.local", A)
            board.now += days * _DAY_MS
            board.asked(ARDUINO, PTR)


# Names


def test_host_names_are_made_valid():
    for given, name in (
        ("valves", "valves"),
        ("Valves-2", "Valves-2"),
        ("my_valves", "my-valves"),
        ("a.b c", "a-b-c"),
        ("-valves_", "valves"),
        ("K\xfcche", "K--che"),
        ("@[`{/:", ""),
        ("___", ""),
        (None, ""),
        ("x" * 32, "x" * 32),
    ):
        assert begin._host_name(given) == name, (given, begin._host_name(given))


def test_a_name_that_another_host_has_gets_a_number():
    with Board(is_new=True) as board:
        board.wait_for(300)
        board.sent()
        sent = board.hears(_other("board.local"), ms=3000)
        assert [m.flags for m, _ in sent] == [0, 0, 0, 0x8400, 0x8400]
        assert sent[0][0].questions[1] == ("board-2.local", ANY, 0x8001)
        assert sent[4][0]["board-2.local", A].data == _ADDRESS
        assert sent[4][0][ARDUINO, PTR].data == "board-2." + ARDUINO
        assert board.lines == [
            "mdns: another host is board.local: this board tries board-2.local",
            "mdns: this board is board-2.local",
        ]
        assert board.ota.settings["hostname"] == "board"


def test_what_others_said_is_read_before_the_name_is_taken():
    with Board(is_new=True) as board:
        board.mdns.handle()
        board.mdns.handle()
        board.net.inbox.append((_other("board.local"), PEER))
        for _ in range(6):  # an application that seldom calls handle()
            board.wait(400)
            board.mdns.handle()
        assert board.lines == [
            "mdns: another host is board.local: this board tries board-2.local",
            "mdns: this board is board-2.local",
        ]


def test_junk_does_not_keep_the_board_from_telling_its_name():
    for junk in (b"\0" * 40, _PROBE):
        with Board(is_new=True) as board:
            while board.now < 5000:
                board.net.inbox.append((junk, PEER))
                board.wait_for(10)
            assert board.lines == ["mdns: this board is board.local"]


def test_an_answer_from_before_the_question_takes_no_name():
    real = talk.urandom
    try:
        for chance in (b"\0", b"\xff"):
            talk.urandom = {1: chance}.get
            with Board() as board:
                # The other host said it several times, before it heard that this board has the
                # name, too; the board has not had the time to read all of it.
                for _ in range(20):
                    board.net.inbox.append((_other("board.local"), PEER))
                board.wait_for(3000)
                assert board.mdns.name == b"board", chance
    finally:
        talk.urandom = real


def test_the_number_takes_the_place_of_a_long_name_s_end():
    with Board(is_new=True, hostname="a" * 32) as board:
        for n in (2, 3):
            board.wait_for(400)
            board.hears(_other(board.mdns.name.decode() + ".local"), ms=10)
            assert board.mdns.name == b"a" * 30 + b"-%d" % n


def test_a_service_of_this_name_at_another_host_is_a_conflict():
    with Board(is_new=True) as board:
        board.wait_for(300)
        srv = b"\0\0\0\0" + (8266).to_bytes(2, "big") + wire("other.local")
        board.hears(_other(_INSTANCE, SRV, srv), ms=3000)
        assert board.mdns.name == b"board-2"


def test_a_name_that_was_this_board_s_is_asked_for_once_more_before_it_is_given_up():
    with Board() as board:
        sent = board.hears(_other("board.local"), ms=3000)
        assert [m.flags for m, _ in sent] == [0, 0, 0, 0x8400, 0x8400]
        assert sent[4][0]["board.local", A].data == _ADDRESS
        board.hears(_other("board.local"), ms=500)
        board.hears(_other("board.local"), ms=3000)
        assert board.mdns.name == b"board-2"


def test_what_is_no_conflict():
    with Board() as board:
        for data in (
            _other("board.local", A, _ADDRESS),  # this board's own, which it hears
            _other("board.local", A, ttl=0),  # of a host that goes
            _other("board.local", AAAA, bytes(16)),
            _other(ARDUINO, PTR, wire("other." + ARDUINO)),
            _other("other.local"),
            _other(_INSTANCE, TXT, b"\0"),
        ):
            assert board.hears(data, ms=2000) == []
        assert board.mdns.name == b"board"


def test_of_two_that_claim_a_name_at_once_the_lower_address_waits():
    for address, waits in ((b"\xc0\xa8\x04\x0a", True), (b"\xc0\xa8\x04\x08", False)):
        claim = message(
            [question("board.local", ANY, 0x8001)], claims=[record("board.local", A, address)]
        )
        with Board(is_new=True) as board:
            board.wait_for(100)
            board.sent()
            sent = board.hears(claim, ms=900)
            assert [m.flags for m, _ in sent] == ([] if waits else [0, 0, 0x8400]), waits
            if waits:  # the other one has the name by now
                board.wait_for(200)
                board.hears(_other("board.local", A, address), ms=3000)
            assert board.mdns.name == (b"board-2" if waits else b"board")


def test_a_host_that_takes_every_name_is_given_way_only_every_5_s():
    with Board(is_new=True) as board:
        while board.mdns.failures < 16:
            board.wait_for(600)
            board.hears(_other(board.mdns.name.decode() + ".local"), ms=10)
        assert board.mdns.name == b"board-17"
        board.sent()
        board.wait_for(4500)
        assert board.sent() == []
        board.wait_for(1000)
        assert board.sent()


# The end


def test_before_a_restart_there_is_a_goodbye():
    with Board() as board:
        try:
            hal.reset()
            raise AssertionError("no reset")
        except Reset:
            pass
        ((gone, address),) = board.sent()
        assert address == GROUP and gone.names == sorted(_OF_ARDUINO)
        assert {r.ttl for r in gone.answers} == {0}


def test_nobody_hears_a_goodbye_of_what_was_not_told():
    with Board(is_new=True) as board:
        board.wait_for(300)
        board.sent()
        try:
            hal.reset()
        except Reset:
            pass
        assert board.sent() == []


def test_a_goodbye_that_fails_does_not_keep_the_board_from_its_restart():
    with Board() as board:

        def fail(*_):
            raise OSError(12)

        board.net.sendto = fail
        try:
            hal.reset()
            raise AssertionError("no reset")
        except Reset:
            pass
        assert len(board.lines) == 1 and board.lines[0].startswith("mdns: no goodbye: OSError(")


# What must not harm


def test_an_update_is_left_alone():
    with Board() as board:
        board.ota.updater = Page()
        taken = []
        real = board.net.recvfrom
        board.net.recvfrom = lambda count: taken.append(count) or real(count)
        query = message([question(ARDUINO, PTR)])
        assert board.hears(query, ms=500) == [] and taken == [1]
        board.ota.healthy = True
        assert board.hears(query, ms=5000) == []
        board.ota.updater = None
        board.wait_for(3000)
        assert len(board.sent()) == 2


def test_what_fails_is_said_once_and_tried_again():
    for problem in (MemoryError(), OSError(12)):
        with Board() as board:

            def fail(*_, problem=problem):
                raise problem

            board.net.sendto = fail
            board.ota.healthy = True
            board.wait_for(5000)
            assert len(board.lines) == 1 and board.lines[0].startswith("mdns: "), board.lines
            del board.net.sendto
            board.wait_for(5000)
            assert [m.flags for m, _ in board.sent()] == [0x8400, 0x8400]


def test_a_flood_leaves_the_application_its_time():
    with Board() as board:
        board.net.inbox += [(message([question(ARDUINO, PTR)]), PEER)] * 1000
        board.wait_for(1000)
        assert 1000 - len(board.net.inbox) <= 1000 // 40


def test_names_that_are_none_are_passed_over():
    head = message(flags=0)[:4] + b"\0\1\0\0\0\0\0\0"
    label = b"\x05board"
    tail = b"\0\x01\0\x01"
    with Board() as board:
        for name in (
            b"\xc0\x0c",  # to itself
            label + b"\xc0\x0c",  # round and round
            b"\xc0\x0e\xc0\x0c",
            label + b"\xc0\xff",  # forward, out of the message
            label + b"\xc0",
            label + b"\x80\x05local\0",  # a label of an unknown kind
            label + b"\x40\x05local\0",
            b"\x3f" + b"board" * 3,  # longer than the message
            (b"\x3f" + b"board" + b"x" * 58) * 5 + b"\0",  # longer than a name
            label + b"\x05local",  # without an end
            label,
            b"",
        ):
            assert board.hears(head + name + tail) == [], name
        # Forward, to a name that is there: a pointer leads to what stands before.
        assert board.hears(head + b"\xc0\x12" + tail + wire("board.local")) == []
        assert len(board.hears(head + label + b"\x05local\0" + tail)) == 1


def test_pointers_to_pointers_are_followed_only_so_far():
    with Board() as board:
        for jumps, answers in ((9, 1), (50, 0)):
            # The first question's name, then pointers to it, each to the one before.
            data = wire("board.local") + b"\0\x63\0\1"
            at = 12
            pointers = b""
            for i in range(jumps):
                pointers += (0xC000 | at).to_bytes(2, "big")
                at = 12 + len(data) + 11 + 2 * i
            txt = b"\0" + b"\0\x10\0\1\0\0\0\0" + len(pointers).to_bytes(2, "big") + pointers
            asks = (0xC000 | at).to_bytes(2, "big") + b"\0\1\0\1"
            # A question behind a record: only counts say what is what, so it is a record's name.
            head = b"\0\0\0\0\0\1\0\2\0\0\0\0"
            known = asks + b"\0\0\0\x78\0\4" + _ADDRESS
            query = head + wire("board.local") + b"\0\1\0\1" + txt + known
            assert len(board.hears(query)) == (0 if answers else 1), jumps
            board.wait_for(1000)


def test_a_message_that_says_it_has_more_than_it_has():
    with Board() as board:
        data = b"\0\0\0\0" + b"\xff" * 8 + question("board.local", A)
        assert board.hears(data) == []
        data = b"\0\0\0\0\0\1" + b"\xff" * 6 + question("board.local", A)
        assert len(board.hears(data)) >= 1


def test_a_few_bytes_with_the_name_in_them_are_no_message():
    with Board() as board:
        for data in (b"board", b"\0\0\x84\0board"):
            assert board.hears(data, ms=3000) == []


def test_cut_at_every_byte():
    srv = b"\0\0\0\0" + (8266).to_bytes(2, "big") + wire("board.local")
    known = [record(ARDUINO, PTR, wire(_INSTANCE), 4500), record(_INSTANCE, SRV, srv)]
    whole = message([question(ARDUINO, PTR), question("board.local", A)], known, flags=0)
    with Board() as board:
        for size in range(len(whole)):
            board.hears(whole[:size], ms=50)
            board.wait(1000)
        board.wait_for(2000)
        board.sent()
        assert board.lines == [] and board.mdns.name == b"board"
        board.asked("board.local", A)
