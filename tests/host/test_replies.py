"""The board's counts and results, however they arrive."""

import random

from mpota.arduino.replies import Replies
from mpota.arduino.transfer import CHUNK


def test_random_replies_never_break_the_reader():
    rng = random.Random(20)
    for _ in range(3000):
        replies = Replies()
        replies.expect(rng.choice([1, 100, CHUNK]))
        for _ in range(rng.randrange(4)):
            replies.feed(bytes(rng.choices(b"0123456789OKER[]: \n\xff", k=rng.randrange(20))))
            assert replies.ok + replies.error + replies.unexpected <= 1


def test_counts_that_add_up_are_always_understood():
    rng = random.Random(21)
    for _ in range(500):
        size, counts = rng.randrange(1, CHUNK + 1), []
        while sum(counts) < size:
            counts.append(rng.randrange(1, size - sum(counts) + 1))
        replies = Replies()
        replies.expect(size)
        for digit in "".join(map(str, counts)):
            replies.feed(digit.encode())
        assert replies.acknowledged
