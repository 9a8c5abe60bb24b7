"""The value of a cell: known answers, exact arithmetic by another road, and everything it must not depend on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import count, islice
from math import isqrt

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from noise_checks import KEY, cells, discrete_gaussian, exp_decimal

from privacy.noise import GaussianNoise, derive, gaussian, register
from privacy.noise.exact import BLOCK, WORD
from privacy.noise.inversion import Inversion
from privacy.noise.laplace import BASE, Laplace
from privacy.noise.prf import CHUNK, Draws, Prf

NOISE = GaussianNoise(KEY, Fraction(900))


# Known answers: whoever changes one of these changes the noise of every release to come.

KNOWN_CELLS = pa.array(["", "a", "zone 13001|2026-03-02", "quartier-belsunce|2026-W09|stationnement gênant"])
KNOWN_GAUSSIAN = {
    Fraction(1): [-1, 1, 0, 0],
    Fraction(25, 2): [-4, 0, -6, 2],
    Fraction(10**12): [-845981, -1844573, -96604, 561910],
}
KNOWN_DIGEST = "ff7bc55d0dfb91d67441e4f97686ffea428a932c6712e0145439bfccaa919c06"


@pytest.mark.parametrize("variance", list(KNOWN_GAUSSIAN), ids=str)
def test_known_gaussian_values(variance: Fraction) -> None:
    assert list(discrete_gaussian(KEY, KNOWN_CELLS, variance)) == KNOWN_GAUSSIAN[variance]


def test_many_known_values() -> None:
    assert hashlib.sha256(NOISE(cells(100_000)).astype("<i8").tobytes()).hexdigest() == KNOWN_DIGEST


# Exact arithmetic by another road: decimals of 100 digits, one cell at a time.


def variates(key: bytes, cell: str, attempt: int) -> list[Decimal]:
    """The four uniform variates of a cell, to 160 bits, as the numbers in the middle of what is known."""
    prf = Prf(key)
    (states,) = prf.states(pa.array([cell]))
    found = []
    for slot in range(4):
        word = int(prf.draws(states, attempt).words[0, slot])
        more = int.from_bytes(prf.blocks(states, attempt, 1 + slot, 0).tobytes(), "big")
        found.append((Decimal(word << BLOCK | more) + Decimal("0.5")) / 2 ** (WORD + BLOCK))
    return found


def invert(u: Decimal, tail: Callable[[int], Decimal]) -> int:
    """The greatest m with u < tail(m)."""
    low, high = 0, 1
    while u < tail(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if u < tail(middle) else (low, middle)
    return low


def laplace_of(u: list[Decimal], rate: Fraction) -> int:
    p, full = exp_decimal(rate), exp_decimal(rate * BASE)
    low = invert(u[1], lambda m: (exp_decimal(rate * m) - full) / (1 - full) if m < BASE else Decimal(0))
    magnitude = low + BASE * invert(u[2], lambda m: exp_decimal(rate * BASE * m))
    return -1 - magnitude if u[0] < p / (1 + p) else magnitude


def expected_gaussian(cell: str, variance: Fraction) -> int:
    key = derive(KEY, "discrete gaussian", f"{variance.numerator}/{variance.denominator}")
    scale = isqrt(int(variance)) + 1
    with localcontext() as context:
        context.prec = 100
        for attempt in count():
            u = variates(key, cell, attempt)
            proposed = laplace_of(u, Fraction(1, scale))
            if u[3] < exp_decimal((abs(proposed) - variance / scale) ** 2 / (2 * variance)):
                return proposed
    raise AssertionError


@pytest.mark.parametrize("variance", [Fraction(1, 3), Fraction(2), Fraction(10**5 + 1, 9), Fraction(10**12)], ids=str)
def test_gaussian_is_exact_cell_by_cell(variance: Fraction) -> None:
    some = cells(40)
    assert list(discrete_gaussian(KEY, some, variance)) == [expected_gaussian(c, variance) for c in some.to_pylist()]


# The slow road, taken often: the same values.


class Coarse(Inversion):
    """Looks at the first bits of a word only, so that it can often not decide."""

    mask = np.uint32(0xFC000000)

    def __init__(self, fine: Inversion) -> None:
        super().__init__(fine._tail, [int(v & self.mask) for v in fine._ascending[::-1]])

    def draw(self, words: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
        return super().draw(words & self.mask)


@pytest.mark.parametrize("rate", [Fraction(2), Fraction(1, 3), Fraction(1, 50), Fraction(1, 20_000)], ids=str)
def test_the_fallback_agrees_with_the_tables(rate: Fraction) -> None:
    prf = Prf(KEY)
    (states,) = prf.states(cells(1500))
    fine, coarse = Laplace(rate), Laplace(rate)
    coarse.parts = tuple(Coarse(part) for part in fine.parts)  # type: ignore[assignment]
    undecided = sum(len(part.draw(prf.draws(states).words[:, slot])[1]) for slot, part in enumerate(coarse.parts))
    assert undecided > 100
    assert np.array_equal(coarse.draw(prf.draws(states)), fine.draw(prf.draws(states)))


@pytest.mark.parametrize("variance", [Fraction(1, 2), Fraction(10), Fraction(10**7)], ids=str)
def test_the_fallback_agrees_with_the_sieve(variance: Fraction, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    uniform = Draws.uniform

    def counted(draws: Draws, row: int, slot: int) -> object:
        asked.append(slot)
        return uniform(draws, row, slot)

    some = cells(2000)
    quick = discrete_gaussian(KEY, some, variance)
    monkeypatch.setattr(Draws, "uniform", counted)
    monkeypatch.setattr(gaussian, "MARGIN", 2.0**31)
    assert np.array_equal(discrete_gaussian(KEY, some, variance), quick)
    assert asked.count(3) > 1000


# What a value does not depend on.


@given(values=st.lists(st.text(max_size=40), min_size=1, max_size=60), chance=st.randoms(use_true_random=False))
def test_neither_order_nor_company_changes_a_value(values: list[str], chance: random.Random) -> None:
    whole = dict(zip(values, NOISE(pa.array(values)), strict=True))
    shuffled = list(values)
    chance.shuffle(shuffled)
    cut = len(shuffled) // 3
    parts = pa.chunked_array([shuffled[:cut], shuffled[cut:]], pa.string())
    assert list(NOISE(parts)) == [whole[value] for value in shuffled]
    assert [int(NOISE(pa.array([value]))[0]) for value in islice(shuffled, 5)] == [whole[v] for v in shuffled[:5]]


def test_chunks_of_the_sampler_change_nothing() -> None:
    some = cells(2 * CHUNK + 17)
    whole = NOISE(some)
    assert np.array_equal(np.concatenate([NOISE(some[:1000]), NOISE(some[1000:])]), whole)
    assert np.array_equal(NOISE(some[::-1])[::-1], whole)


def test_every_arrow_form_of_an_identity_means_the_same() -> None:
    values = [b"0123456789abcdef" + bytes([i]) * 16 for i in range(100)]
    whole = NOISE(pa.array(values, pa.binary()))
    forms = [pa.large_binary(), pa.binary(32), pa.binary_view(), pa.string(), pa.large_string(), pa.string_view()]
    for form in forms:
        array = pa.array(values, pa.binary()).cast(form)
        assert np.array_equal(NOISE(array), whole), form
        assert np.array_equal(NOISE(array[7:40]), whole[7:40]), form
        assert len(NOISE(array[:0])) == 0
    assert NOISE(pa.chunked_array([], pa.string())).dtype == np.int64


def test_extreme_scales() -> None:
    assert not discrete_gaussian(KEY, cells(1000), Fraction(1, 10**9)).any()
    wide = discrete_gaussian(KEY, cells(1000), Fraction(2**40))
    assert 2**19 < np.abs(wide).mean() < 2**20


# In a query.


def test_a_query_gives_the_same_values_on_any_number_of_threads() -> None:
    some = cells(300_000)
    expected = int((NOISE(some) * np.arange(len(some))).sum())
    for threads in (1, 4):
        with duckdb.connect(config={"threads": threads}) as connection:
            register(connection, lambda _: NOISE)
            connection.register("cells", pa.table({"cell": some, "i": np.arange(len(some))}))
            connection.execute("create table stored as select i, cell[:1] as b, cell[2:] as e, hash(i) as h from cells")
            for lots in ("select b, [e] as e, [i] as i", "select b, list(e order by h) as e, list(i order by h) as i"):
                query = f"{lots} from stored" + (" group by b, i % 700" if "order" in lots else "")
                drawn = f"select unnest(noise('', b, e)) as n, unnest(i) as i from ({query})"
                assert connection.sql(f"select sum(n * i) from ({drawn})").fetchall() == [(expected,)]


def test_a_query_over_groups_constants_filters_and_empty_arrays() -> None:
    noises = {"a": GaussianNoise(KEY, Fraction(40)), "b": GaussianNoise(KEY, Fraction(900))}
    with duckdb.connect() as connection:
        register(connection, noises.__getitem__)
        found = connection.sql(
            "select name, ends, noise(name, 'cell ', ends), noise('a', 'fixed', [''])"
            " from (select ['a', 'b'][1 + i % 2] as name, range(i % 5)::varchar[] as ends, count(*) as n"
            " from range(1003) t(i) group by all) where n > 1 order by all"
        ).fetchall()
    assert len(found) == 10
    fixed = [int(noises["a"](pa.array(["fixed"]))[0])]
    for name, ends, drawn, constant in found:
        assert drawn == noises[name](pa.array([f"cell {end}" for end in ends], pa.string())).tolist()
        assert constant == fixed


@pytest.mark.parametrize("lot", ["'a', null, ['b']", "'a', 'b', ['c', null]", "'a', 'b', null"])
def test_a_null_cell_fails_the_query(lot: str) -> None:
    with duckdb.connect() as connection:
        register(connection, lambda _: NOISE)
        with pytest.raises(duckdb.Error, match="null"):
            connection.sql(f"select noise({lot}) from range(3)").fetchall()


# What is refused.


@pytest.mark.parametrize(
    ("variance", "error", "message"),
    [
        (Fraction(0), ValueError, "greater than 0"),
        (Fraction(-3), ValueError, "greater than 0"),
        (2.0, TypeError, "must be a Fraction"),
        (Fraction(2**40 + 1), ValueError, "not between"),
        (Fraction(1, 2**41), ValueError, "not between"),
    ],
)
def test_nonsense_is_refused(variance: Fraction, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        discrete_gaussian(KEY, cells(1), variance)


def test_cells_that_are_no_identities_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 cells are null"):
        NOISE(pa.array(["a", None]))
    with pytest.raises(TypeError, match="strings or bytes, not int64"):
        NOISE(pa.array([1, 2]))
    with pytest.raises(TypeError, match="Arrow array of strings or bytes, not ndarray"):
        NOISE(np.array([b"a"]))
    with pytest.raises(TypeError, match="not list"):
        NOISE(["a"])


@pytest.mark.parametrize("key", [b"short", bytes(64)])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        discrete_gaussian(key, cells(1), Fraction(1))
