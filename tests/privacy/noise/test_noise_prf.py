from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from noise_checks import KEY, cells

from privacy.noise import derive
from privacy.noise.prf import CHUNK, Prf


def cbc_mac(key: bytes, message: bytes) -> bytes:
    """The last block of AES-CBC: the definition, by the library's own chaining."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return (encryptor.update(message) + encryptor.finalize())[-16:]


def expected(cell: bytes, attempt: int, stream: int = 0, index: int = 0) -> bytes:
    head = len(cell).to_bytes(16, "little")
    body = cell + bytes(-len(cell) % 16)
    position = attempt.to_bytes(8, "little") + (stream << 32 | index).to_bytes(8, "little")
    return cbc_mac(KEY, head + body + position)


@given(st.lists(st.binary(max_size=70), min_size=1, max_size=40), st.integers(0, 2**40), st.integers(0, 5))
def test_blocks_are_the_cbc_mac_of_length_identity_position(values: list[bytes], attempt: int, stream: int) -> None:
    prf = Prf(KEY)
    (states,) = prf.states(pa.array(values, pa.binary()))
    blocks = prf.blocks(states, attempt, stream, 7)
    assert [row.tobytes() for row in blocks] == [expected(value, attempt, stream, 7) for value in values]


def test_words_and_the_bits_that_continue_them() -> None:
    prf = Prf(KEY)
    (states,) = prf.states(pa.array(["a", "b"]))
    draws = prf.draws(states, 3)
    assert draws.words.shape == (2, 4)
    assert draws.words[1].tobytes() == expected(b"b", 3)
    asked: list[int] = []

    def bounds(bits: int) -> tuple[int, int]:
        asked.append(bits)
        if bits == 32:
            return 0, 1 << 32
        # The variate is known to 160 bits: its word, then the block that continues it.
        value = int(draws.words[1, 2]) << 128 | int.from_bytes(expected(b"b", 3, 1 + 2, 0), "big")
        return value + 1, value + 1

    assert draws.uniform(1, 2).below(bounds)
    assert asked == [32, 160]


def test_padding_does_not_confuse_identities() -> None:
    values = [b"", b"\0", b"\0\0", b"a", b"a\0", bytes(15), bytes(16), bytes(17), bytes(32)]
    prf = Prf(KEY)
    (states,) = prf.states(pa.array(values, pa.binary()))
    assert len({row.tobytes() for row in prf.blocks(states, 0)}) == len(values)


def test_every_byte_is_uniform() -> None:
    prf = Prf(KEY)
    blocks = np.concatenate([prf.blocks(states, 0) for states in prf.states(cells(CHUNK + 5000))])
    counts = np.array([np.bincount(column, minlength=256) for column in blocks.view(np.uint8).reshape(-1, 16).T])
    statistic = ((counts - len(blocks) / 256) ** 2 / (len(blocks) / 256)).sum(axis=1)
    assert np.all(np.abs(statistic - 255) < 5 * np.sqrt(2 * 255))


def test_a_derived_key_depends_on_where_labels_end() -> None:
    assert (
        derive(KEY, "fines", "3")
        == hmac.new(KEY, b"\0\0\0\0\0\0\0\x05fines" + b"\0\0\0\0\0\0\0\x013", hashlib.sha256).digest()
    )
    labels = [("fines", "3"), ("fine", "s3"), ("fines3",), ("3", "fines"), ("fines", "3", "")]
    assert len({derive(KEY, *each) for each in labels}) == len(labels)
    assert derive(KEY, "é") == derive(KEY, "é".encode())


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33), "x" * 32, bytearray(32)], ids=repr)
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="a noise key is 32 bytes"):
        Prf(key)
    with pytest.raises(ValueError, match="a noise key is 32 bytes"):
        derive(key, "fines")


def test_a_key_needs_a_purpose() -> None:
    with pytest.raises(ValueError, match="at least one label"):
        derive(KEY)
