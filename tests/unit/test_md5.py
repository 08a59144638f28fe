"""MD5 on the device: both block functions, and the choice between them."""

import binascii
import random
import sys

from ota import md5_bytecode, md5_viper
from ota.md5 import MD5, md5

_RFC_1321 = (
    (b"", b"d41d8cd98f00b204e9800998ecf8427e"),
    (b"a", b"0cc175b9c0f1b6a831c399e269772661"),
    (b"abc", b"900150983cd24fb0d6963f7d28e17f72"),
    (b"message digest", b"f96b697d7cb7938d525a2f31aaf161d0"),
    (b"abcdefghijklmnopqrstuvwxyz", b"c3fcd3d76192e4007dfb496cca67e13b"),
    (
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        b"d174ab98d277d9f5a5611c2c9f419d9f",
    ),
    (b"1234567890" * 8, b"57edf4a22be3c955ac49da2e2107b67a"),
)

# The vectors' first inputs have each length from 0 to 200 once.
_EVERY_LENGTH = 201


def viper(data=b""):
    return MD5(md5_viper.blocks, data)


def bytecode(data=b""):
    return MD5(md5_bytecode.blocks, data)


_ALL = (viper, bytecode, md5)


def _fill(buffer, seed, size):
    """Put the vectors' input number `seed` into `buffer` (tests/host/test_md5_vectors.py)."""
    x = seed
    for i in range(size):
        x = (x * 13849 + 25173) & 0xFFFF
        buffer[i] = x >> 8


def _vectors():
    """Yield the number, the input as a memoryview and the digest of each vector."""
    buffer = bytearray(1024)
    view = memoryview(buffer)
    with open("/vectors/md5.txt") as lines:
        for number, line in enumerate(lines):
            size, digest = line.split()
            _fill(buffer, number, int(size))
            yield number, view[: int(size)], binascii.unhexlify(digest)


def _import_with(hashlib, native_error=None):
    """Import ota.md5 afresh, with *hashlib* for the chip's own; its native code raises an error.

    That is *native_error*, or none.
    """

    class Broken:
        def __getattr__(self, name):
            raise native_error

    saved = [(name, sys.modules.get(name)) for name in ("uhashlib", "ota.md5", "ota.md5_viper")]
    try:
        sys.modules["uhashlib"] = hashlib
        sys.modules.pop("ota.md5", None)
        if native_error:
            sys.modules["ota.md5_viper"] = Broken()
        return __import__("ota.md5", None, None, ("md5",))
    finally:
        for name, module in saved:
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


class NoMD5:
    """The board's `hashlib`, which has no md5."""


def test_digests_the_vectors_of_rfc_1321():
    for new in _ALL:
        for data, digest in _RFC_1321:
            assert binascii.hexlify(new(data).digest()) == digest


def test_digests_every_length_from_0_to_200_in_one_piece():
    count = 0
    for number, data, digest in _vectors():
        if number == _EVERY_LENGTH:
            break
        assert len(data) == number
        for new in _ALL:
            h = new()
            h.update(data)
            assert h.digest() == digest, number
        count += 1
    assert count == _EVERY_LENGTH


def test_digests_1000_inputs_in_random_chunks():
    random.seed(1321)
    count = 0
    for number, data, digest in _vectors():
        if number < _EVERY_LENGTH:
            continue
        for new in _ALL:
            h = new()
            start = 0
            while start < len(data):
                end = start + random.getrandbits(random.getrandbits(3) + 3)
                h.update(data[start:end])
                start = end
            assert h.digest() == digest, number
        count += 1
    assert count == 1000


def test_takes_memoryviews_at_any_offset():
    data, digest = next((data, digest) for _, data, digest in _vectors() if len(data) > 600)
    size = len(data)
    for offset in range(17):
        shifted = bytearray(size + 17)
        shifted[offset : offset + size] = data
        view = memoryview(shifted)
        for new in _ALL:
            h = new()
            h.update(view[offset : offset + 301])
            h.update(view[offset + 301 : offset + size])
            assert h.digest() == digest, offset


def test_leaves_its_input_alone():
    data = bytearray(range(200))
    for new in _ALL:
        new(memoryview(data)[3:]).digest()
        assert data == bytearray(range(200))


def test_two_objects_at_a_time_do_not_disturb_each_other():
    for new in _ALL:
        one, other = new(), new(b"a")
        one.update(b"message ")
        assert binascii.hexlify(other.digest()) == _RFC_1321[1][1]
        one.update(b"digest")
        assert binascii.hexlify(one.digest()) == _RFC_1321[3][1]


def test_is_final_after_its_digest():
    for new in (viper, bytecode):
        h = new(b"abc")
        h.digest()
        for call, arguments in ((h.digest, ()), (h.update, (b"d",))):
            try:
                call(*arguments)
                raise AssertionError("no ValueError")
            except ValueError:
                pass


def test_native_code_is_chosen_where_hashlib_has_no_md5():
    module = _import_with(NoMD5())
    assert module._blocks is md5_viper.blocks
    assert binascii.hexlify(module.md5(b"abc").digest()) == _RFC_1321[2][1]


def test_bytecode_is_chosen_where_native_code_cannot_be_had():
    for error in (
        ImportError("no module named 'ota.md5_viper'"),
        MemoryError("memory allocation failed, allocating 672 bytes for native code"),
        SyntaxError("invalid micropython decorator"),
        ValueError("incompatible .mpy file"),
    ):
        module = _import_with(NoMD5(), error)
        assert module._blocks is md5_bytecode.blocks
        assert binascii.hexlify(module.md5(b"abc").digest()) == _RFC_1321[2][1]


def test_hashlib_is_used_where_it_has_md5():
    class Hashlib:
        def md5(self, data=b""):
            return "the port's own", data

    module = _import_with(Hashlib())
    assert module.md5(b"abc") == ("the port's own", b"abc")
    # Nor is anything else loaded for it, which would take up memory.
    assert not hasattr(module, "_blocks")


def test_a_module_hashlib_of_the_application_is_not_used():
    class Impostor:
        def md5(self, data=b""):
            raise AssertionError("the application's")

    sys.modules["hashlib"] = Impostor()
    try:
        module = _import_with(NoMD5())
        assert binascii.hexlify(module.md5(b"abc").digest()) == _RFC_1321[2][1]
    finally:
        sys.modules.pop("hashlib")
