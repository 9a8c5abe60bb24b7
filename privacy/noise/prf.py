"""Random bits from a key and the identity of a cell: AES-256 in CBC-MAC over (length, identity, position).

The first block tells the length of the identity, so no message is the beginning of another, and CBC-MAC over such
messages is a pseudorandom function as long as AES is a pseudorandom permutation (Petrank and Rackoff, "CBC MAC for
real-time data sources", Journal of Cryptology 13, 2000). All cells of a chunk go through AES together: quicker than the
digests that DuckDB computes, and it needs none, since an identity may be any string or bytes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privacy.noise.exact import Uniform

KEY_BYTES = 32
CHUNK = 1 << 15
"""Cells treated at once: enough to be quick, few enough to stay in the processor's cache."""

Blocks = npt.NDArray[np.uint64]
"""Shape (n, 2): one AES block of 16 bytes a row, in memory order."""

_SIZE = 16
_KEEP = np.tril(np.full((_SIZE + 1, _SIZE), 0xFF, np.uint8), -1).view(np.uint64)
"""Row k keeps the first k bytes of a block."""


def derive(master: bytes, *labels: str | bytes) -> bytes:
    """A key of 32 bytes for the purpose that ``labels`` name: HMAC-SHA256 over the labels, each after its length.

    Raises:
        ValueError: ``master`` is not 32 bytes long, or no label is given.
    """
    _check_key(master)
    if not labels:
        raise ValueError("a derived key needs at least one label: without a purpose it would be shared by all")
    parts = [label.encode() if isinstance(label, str) else label for label in labels]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.new(master, message, hashlib.sha256).digest()


def _check_key(key: bytes) -> None:
    if not isinstance(key, bytes) or len(key) != KEY_BYTES:
        raise ValueError(f"a noise key is {KEY_BYTES} bytes: derive one with privacy.noise.derive")


class Draws:
    """One block of four 32-bit words for each of some cells, and the bits that continue each word."""

    def __init__(self, prf: Prf, states: Blocks, attempt: int) -> None:
        self._prf, self._states, self._attempt = prf, states, attempt
        self.words = prf.blocks(states, attempt).view("<u4")

    def uniform(self, row: int, slot: int) -> Uniform:
        """The variate of which ``words[row, slot]`` is the beginning."""

        def block(index: int) -> int:
            state = self._states[row : row + 1]
            return int.from_bytes(self._prf.blocks(state, self._attempt, 1 + slot, index).tobytes(), "big")

        return Uniform(int(self.words[row, slot]), block)


class Prf:
    """The pseudorandom function of one key.

    Raises:
        ValueError: the key is not 32 bytes long.
    """

    def __init__(self, key: bytes) -> None:
        _check_key(key)
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305 - one block at a time; CBC-MAC is built here

    def states(self, cells: pa.Array | pa.ChunkedArray) -> Iterator[Blocks]:
        """The state of the function once it has read an identity, cell by cell, in chunks of at most ``CHUNK`` cells.

        Raises:
            TypeError: ``cells`` is not an Arrow array of strings or bytes.
            ValueError: a cell is null.
        """
        for array in cells.chunks if isinstance(cells, pa.ChunkedArray) else [cells]:
            memory, bounds = _identities(array)
            for first in range(0, len(array), CHUNK):
                yield self._read(memory, bounds[first : first + CHUNK + 1])

    def blocks(self, states: Blocks, attempt: int, stream: int = 0, index: int = 0) -> Blocks:
        """The block at position (``attempt``, ``stream``, ``index``) of each cell; shape (n, 2)."""
        position = np.array([attempt, stream << 32 | index], "<u8").view(np.uint64)
        return self._encrypt(states ^ position)

    def draws(self, states: Blocks, attempt: int = 0) -> Draws:
        """The words of each cell for one attempt at drawing."""
        return Draws(self, states, attempt)

    def _read(self, memory: npt.NDArray[np.uint8], bounds: npt.NDArray[np.int64]) -> Blocks:
        starts, sizes = bounds[:-1] - bounds[0], np.diff(bounds)
        head = np.zeros((len(sizes), 2), "<u8")
        head[:, 0] = sizes
        states = self._encrypt(head.view(np.uint64))
        # Every 16 bytes of the identities' memory, from whichever byte they start.
        data = np.concatenate([memory[bounds[0] : bounds[-1]], np.zeros(_SIZE, np.uint8)])
        windows: npt.NDArray[np.void] = np.ndarray((len(data) - _SIZE + 1,), f"V{_SIZE}", data, strides=(1,))
        shortest, longest = int(sizes.min()), int(sizes.max())
        for position in range(0, longest, _SIZE):
            rows = slice(None) if position < shortest else np.flatnonzero(sizes > position)
            block = windows[starts[rows] + position].view(np.uint64).reshape(-1, 2)
            if position + _SIZE > shortest:
                block &= _KEEP[np.minimum(sizes[rows] - position, _SIZE)]
            states[rows] = self._encrypt(states[rows] ^ block)
        return states

    def _encrypt(self, blocks: Blocks) -> Blocks:
        out = np.empty(blocks.nbytes + _SIZE - 1, np.uint8)  # room that the library asks for
        flat = np.ascontiguousarray(blocks).view(np.uint8).reshape(-1)
        written = self._cipher.encryptor().update_into(flat.data, out.data)
        return out[:written].view(np.uint64).reshape(-1, 2)


def _identities(array: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The memory that holds the identities, and where in it each begins; the last bound is where the last one ends."""
    if not isinstance(array, pa.Array):
        raise TypeError(f"cells must be an Arrow array of strings or bytes, not {type(array).__name__}")
    if array.null_count:
        raise ValueError(f"{array.null_count} of {len(array)} cells are null: a cell without an identity has no noise")
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    kind = array.type
    rows = np.arange(array.offset, array.offset + len(array) + 1, dtype=np.int64)
    if pa.types.is_fixed_size_binary(kind):
        bounds = rows * kind.byte_width
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        bounds = np.frombuffer(array.buffers()[1] or bytes(4), "<i4")[rows].astype(np.int64)
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        bounds = np.frombuffer(array.buffers()[1] or bytes(8), "<i8")[rows]
    else:
        raise TypeError(f"cells must be strings or bytes, not {kind}: cast them to text in one fixed way")
    return np.frombuffer(array.buffers()[-1] or b"", np.uint8), bounds
