"""Signatures on the board: every vector gets the right verdict; damaged keys and trailers fail."""

import gc
import json
import random
from binascii import b2a_base64, unhexlify
from hashlib import sha256

from ota.errors import OTAError
from ota.updater import signature
from ota.updater.signature import KEYS, longest_key_bytes, read_keys, verify

_BEGIN, _END = "-----BEGIN %s-----\n", "-----END %s-----\n"
_SPKI, _PKCS1 = "PUBLIC KEY", "RSA PUBLIC KEY"
_RSA = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
_E = b"\x02\x03\x01\x00\x01"
_SEED = 8266
# What an update makes sure of beside the block that it holds: one piece, and small objects.
_PIECE_BYTES = 768
_SLACK_BYTES = 3000  # 375 words


def _cases():
    with open("/vectors/signature.json") as f:
        return json.load(f)


_CASES = _cases()


class _Gc:
    """A `gc` that collects nothing: of these tests' large heap that takes longer than the rest."""

    def collect(self):
        pass


signature.gc = _Gc()

_GOOD = {}  # by bits: the good vector of a key
for _case in _CASES:
    if _case["good"] and not _case["legacy"]:
        _GOOD.setdefault(len(_case["signature"]) * 4, _case)


# Key files


def _der(tag, content):
    n = len(content)
    if n < 128:
        length = bytes([n])
    elif n < 256:
        length = bytes([0x81, n])
    else:
        length = bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + length + content


def _rsa_public_key(modulus, e=_E):
    if modulus[0] & 0x80:
        modulus = b"\0" + modulus
    return _der(0x30, _der(2, modulus) + e)


def _spki(modulus, e=_E):
    return _der(0x30, _RSA + _der(3, b"\0" + _rsa_public_key(modulus, e)))


def _pem(der, label=_SPKI):
    lines = [_BEGIN % label]
    for at in range(0, len(der), 48):
        lines.append(b2a_base64(der[at : at + 48]).decode())
    return ("".join(lines) + _END % label).encode()


def _binary(*moduli):
    return b"MPKY" + b"".join([len(n).to_bytes(2, "little") + n for n in moduli])


def _modulus(case):
    return unhexlify(case["modulus"])


_N1024, _N2048, _N4096 = [_modulus(_GOOD[bits]) for bits in (1024, 2048, 4096)]


def _set_keys(content):
    with open(KEYS, "wb") as f:
        f.write(content)


def _keys(content):
    # The moduli that the key file *content* holds, or the number of the error.
    _set_keys(content)
    try:
        return list(read_keys(KEYS))
    except OTAError as e:
        assert str(e).startswith("ERROR[12]: Signature verification failed: "), e
        return e.code


def _verdict(case, legacy):
    # Whether the board of today takes the image; whatever is raised but error 12 goes up.
    return not _raises_12(unhexlify(case["sha256"]), unhexlify(case["signature"]), legacy)


def _raises_12(digest, found, legacy, keys=KEYS):
    try:
        verify(digest, found, legacy, keys)
    except OTAError as e:
        assert e.code == 12, e
        return True
    return False


def _verdicts_are_right(key_file, cases=_CASES):
    for case in cases:
        _set_keys(key_file(case))
        message, length = case["message"].encode(), len(case["signature"]) // 2
        assert sha256(message).digest() == unhexlify(case["sha256"])
        for legacy in (False, True):
            expected = case["good"] and (legacy or not case["legacy"])
            # verify.py takes no signature of another length than a key may have.
            found = 128 <= length <= 512 and _verdict(case, legacy)
            assert found == expected, (case["name"], legacy)


def test_there_are_good_vectors_of_every_length_and_many_bad_ones():
    assert sorted(_GOOD) == [1024, 1032, 2048, 3072, 4096]
    assert len([case for case in _CASES if not case["good"]]) >= 50


def test_every_vector_gets_its_verdict_by_a_key_as_openssl_writes_it():
    _verdicts_are_right(lambda case: case["pem"].encode())


def test_the_good_ones_get_theirs_by_keys_in_pkcs_1_and_by_binary_ones():
    # That all forms of a key are the same key is shown below.
    good = [case for case in _CASES if case["good"]]
    _verdicts_are_right(lambda case: _pem(_rsa_public_key(_modulus(case)), _PKCS1), good)
    _verdicts_are_right(lambda case: _binary(_modulus(case)), good)


def test_every_vector_gets_its_verdict_among_several_keys():
    others = [bytes([n[0]]) + bytes(reversed(n[:-2])) + b"\x01" for n in (_N1024, _N2048, _N4096)]

    def binary(case):
        return _binary(others[0], others[1], _modulus(case), others[2])

    def pem(case):
        texts = [_pem(_spki(others[0])), b"\n# ours\n", _pem(_spki(_modulus(case)))]
        return b"".join(texts + [_pem(_rsa_public_key(others[1]), _PKCS1)])

    for key_file in (binary, pem):
        _verdicts_are_right(key_file, [case for case in _CASES if case["good"]])


def test_a_signature_is_good_for_its_own_digest_only():
    case = _GOOD[1024]
    _set_keys(case["pem"].encode())
    digest = bytearray(unhexlify(case["sha256"]))
    found = unhexlify(case["signature"])
    for bit in range(256):
        digest[bit >> 3] ^= 1 << (bit & 7)
        assert _raises_12(bytes(digest), found, True), bit
        digest[bit >> 3] ^= 1 << (bit & 7)
    assert not _raises_12(bytes(digest), found, False)


def test_all_forms_of_a_key_are_the_same_key():
    for n in [_modulus(_GOOD[bits]) for bits in _GOOD]:
        for content in (
            _pem(_spki(n)),
            _pem(_rsa_public_key(n), _PKCS1),
            _pem(_spki(n)).replace(b"\n", b"\r\n"),
            _pem(_spki(n)).replace(b"\n", b" \n\n"),
            b"a note\n" + _pem(_spki(n)) + b"another one",
            _pem(_spki(n))[:-1],
            _binary(n),
        ):
            assert _keys(content) == [n]
        # The longest line that a tool writes, and all on one.
        text = _pem(_spki(n)).decode().split("\n")
        assert _keys("\n".join([text[0], "".join(text[1:-2]), text[-2]]).encode()) == [n]


def test_the_pem_of_the_vectors_holds_their_modulus():
    for bits in _GOOD:
        assert _keys(_GOOD[bits]["pem"].encode()) == [_modulus(_GOOD[bits])]


def test_many_keys_come_in_their_order():
    moduli = [_N2048, _N1024, _N4096, _N2048]
    assert _keys(_binary(*moduli)) == moduli
    assert _keys(b"".join([_pem(_spki(n)) for n in moduli])) == moduli


# Broken key files


def _of_bits(bits):
    return b"\x80" + bytes(bits // 8 - 2) + b"\x01"


_EC = _der(
    0x30,
    b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
    + _der(3, b"\0\x04" + bytes(range(64))),
)
_PRIVATE = _der(0x30, b"\x02\x01\x00" + _der(2, b"\0" + _N2048) + _E + _der(2, b"\1" * 256))


def _broken():
    spki, good = _spki(_N2048), _pem(_spki(_N2048))
    lines = good.split(b"\n")
    yield "empty", b""
    yield "blank", b"\n\n \n"
    yield "text", b"no key at all\n" * 20
    yield "zeros", bytes(500)
    yield "erased flash", b"\xff" * 500
    yield "garbage", bytes([i * 89 + i * i & 255 for i in range(3000)])
    yield "DER, not PEM", spki
    yield "no END", b"\n".join(lines[:-2]) + b"\n"
    yield "no END, and another key", b"\n".join(lines[:-2]) + b"\n" + good
    yield "no BEGIN", b"\n".join(lines[1:])
    yield "nothing inside", lines[0] + b"\n" + lines[-2]
    yield "a line is missing", b"\n".join(lines[:3] + lines[4:])
    yield "a digit is missing", good.replace(lines[3], lines[3][1:])
    yield "not base64", good.replace(lines[3], b"?" * 64)
    yield "one letter not base64", good.replace(lines[3], b"!" + lines[3][1:])
    yield "a private key", _pem(_PRIVATE, "RSA PRIVATE KEY")
    yield "a private key, PKCS#8", _pem(_PRIVATE, "PRIVATE KEY")
    yield "a locked private key", _pem(_PRIVATE, "ENCRYPTED PRIVATE KEY")
    yield "a private key under another label", _pem(_PRIVATE, _PKCS1)
    yield "a certificate", _pem(spki, "CERTIFICATE")
    yield "an EC key", _pem(_EC)
    yield "an EC key under another label", _pem(_EC, _PKCS1)
    for e in (b"\x02\x01\x03", b"\x02\x01\x11", b"\x02\x03\x01\x00\x00", b"\x02\x01\x01", b""):
        yield "exponent %r" % e, _pem(_spki(_N2048, e))
        yield "exponent %r, PKCS#1" % e, _pem(_rsa_public_key(_N2048, e), _PKCS1)
    yield "65537 with a zero before", _pem(_spki(_N2048, b"\x02\x04\x00\x01\x00\x01"))
    yield "something behind the exponent", _pem(_spki(_N2048, _E + b"\0"))
    yield "something behind the key", _pem(spki + b"\0")
    yield (
        "something behind the inner key",
        _pem(_der(0x30, _RSA + _der(3, b"\0" + _rsa_public_key(_N2048) + b"\0"))),
    )
    for bits in (16, 512, 1016, 4104, 8192):
        n = _of_bits(bits)
        yield "%d bits" % bits, _pem(_spki(n))
        yield "%d bits, binary" % bits, _binary(n)
    for n in (b"\x7f" + _N2048[1:], b"\0" + _N2048[1:], _N2048[:-1] + b"\x02"):
        yield "modulus %r…" % n[:1], _pem(_spki(n))
        yield "modulus %r…, binary" % n[:1], _binary(n)
    yield "binary, no key", b"MPKY"
    yield "binary, length 0", b"MPKY\0\0"
    yield "binary, half a length", _binary(_N2048) + b"\0"
    yield "binary, longer than it is", b"MPKY\xff\xff" + _N2048
    yield "binary, garbage behind", _binary(_N2048) + b"garbage"
    yield "binary, then PEM", _binary(_N2048) + good
    yield "binary, big-endian length", b"MPKY\x01\x00" + _N2048


def test_no_signature_is_good_by_a_broken_key_file():
    case = _GOOD[2048]
    names = []
    for name, content in _broken():
        assert _keys(content) == 12, name
        for legacy in (False, True):
            assert _verdict(case, legacy) is False, name
        names.append(name)
    assert len(names) > 50


def test_a_file_that_is_broken_behind_a_good_key_is_broken():
    case = _GOOD[2048]
    _set_keys(_pem(_spki(_N2048)) + _pem(_spki(_N1024)))
    assert _verdict(case, False)
    for good, broken in ((_pem(_spki(_N2048)), _pem(_EC)), (_binary(_N2048), b"\x00\x01cut")):
        _set_keys(good + broken)
        assert _verdict(case, False) is False


def test_a_key_file_cut_off_anywhere_is_broken():
    for content, step in (
        (_pem(_spki(_N1024)), 1),
        (_pem(_rsa_public_key(_N1024), _PKCS1), 1),
        (_binary(_N1024), 1),
        (_pem(_spki(_N4096)), 7),
    ):
        last = len(content) - (5 if content[0] == 45 else 0)  # of the END line, dashes are spared
        for length in range(0, last - 1, step):
            found = _keys_of(content[:length])
            if found != 12:
                # Only what is cut within the word after END, which is not read, is whole.
                assert content[:length].find(b"-----END") > 0, length


def _keys_of(content):
    # As _keys, and without the flash.
    try:
        return list(read_keys(content))
    except OTAError as e:
        return e.code


def test_the_keys_may_be_given_as_they_are_in_place_of_the_file():
    case = _GOOD[2048]
    digest, found = unhexlify(case["sha256"]), unhexlify(case["signature"])
    _set_keys(_pem(_spki(_N1024)))
    for content in (_pem(_spki(_N2048)), _binary(_N1024, _N2048)):
        assert not _raises_12(digest, found, False, content)
    _set_keys(_pem(_spki(_N2048)))
    for content in (b"", _pem(_spki(_N1024)), _pem(_spki(_N2048))[:-30]):
        assert _raises_12(digest, found, False, content)


def test_the_longest_key_says_how_much_memory_the_arithmetic_needs():
    for moduli, length in (((_N1024,), 128), ((_N1024, _N4096, _N2048), 512), ((_N2048,), 256)):
        _set_keys(_binary(*moduli))
        assert longest_key_bytes() == longest_key_bytes(_binary(*moduli)) == length
    _set_keys(b"garbage")
    try:
        longest_key_bytes()
        raise AssertionError("no OTAError")
    except OTAError as e:
        assert e.code == 12


# Fuzz


def _mutated(data):
    data = bytearray(data)
    for _ in range(random.getrandbits(2) + 1):
        at = random.getrandbits(16) % max(1, len(data))
        change = random.getrandbits(3)
        if change == 0:
            data = data[:at]
        elif change == 1:
            data = data[:at] + data[at + random.getrandbits(5) :]
        elif change == 2:
            data = data[:at] + bytes(random.getrandbits(3)) + data[at:]
        elif change == 3:
            data = data[:at] + data[at : at + 40] + data[at:]
        elif len(data):
            data[at] = random.getrandbits(8) if change < 6 else data[at] ^ 1 << (change & 7)
    return bytes(data)


def test_mutated_key_files_raise_nothing_but_error_12():
    random.seed(_SEED)
    originals = [
        _pem(_spki(_N1024)),
        _pem(_rsa_public_key(_N2048), _PKCS1),
        _binary(_N1024, _N2048),
        _pem(_spki(_N1024)) + _pem(_spki(_N2048)),
    ]
    broken = 0
    for i in range(4000):
        content = _mutated(originals[i & 3])
        found = _keys_of(content)  # anything but an OTAError fails the test
        if found == 12:
            broken += 1
        else:
            assert found and all(128 <= len(n) <= 512 and n[-1] & 1 for n in found), i
    assert 1000 < broken < 4000, broken


def test_mutated_der_raises_nothing_but_error_12():
    random.seed(_SEED)
    for i in range(4000):
        der = _spki(_N1024) if i & 1 else _rsa_public_key(_N1024)
        # Where the lengths are, above all.
        head = _mutated(der[:32]) if i & 2 else der[:32]
        tail = der[32:] if i & 2 else _mutated(der[32:])
        try:
            signature._modulus(head + tail)
        except OTAError as e:
            assert e.code == 12


def test_mutated_signatures_are_never_good():
    random.seed(_SEED)
    case = _GOOD[1024]
    _set_keys(_binary(_N1024))
    good = unhexlify(case["signature"])
    digest = unhexlify(case["sha256"])
    assert not _raises_12(digest, good, True)
    for i in range(1000):
        changed = _mutated(good)
        assert changed == good or _raises_12(digest, changed, True), i


# Heap


def _full_heap(block_bytes):
    # Returns what fills the heap but for what an update has held and made sure of, and holes that
    # are too small for a number.
    gc.collect()
    filler = [None] * 60000
    block, piece = bytearray(block_bytes), bytearray(_PIECE_BYTES)
    # Of small objects.
    small = [bytearray(64) for _ in range(_SLACK_BYTES // 64)]
    n = 0
    size = 65536
    while size >= 128:
        try:
            filler[n] = bytearray(size)
            n += 1
        except MemoryError:
            size //= 2
    del block, piece, small
    gc.collect()
    return filler


def test_the_block_that_an_update_holds_is_enough_for_the_arithmetic():
    for bits, block_bytes in ((1024, 3000), (2048, 3000), (4096, 5200)):
        case = _GOOD[bits]
        keys = case["pem"].encode()
        digest, found = unhexlify(case["sha256"]), unhexlify(case["signature"])
        filler = _full_heap(block_bytes)
        signature.gc = gc
        try:
            verify(digest, found, False, keys)
        finally:
            signature.gc = _Gc()
            del filler
            gc.collect()
