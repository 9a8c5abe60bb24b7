"""Drawing at random, reproducibly and by the million: weighted choices, addresses, vehicles.

Everything derives from the seed and from names and days, never from the order of calls, so a day's content does not
depend on the days around it. Only uniform draws and table look-ups are used, which give the same result on any machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from infra.city.profile import City

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SPOTS = 6
"""Streets per zone; the first draws the most."""
NUMBERS = 12
"""Addresses per street."""
VEHICLES = 250_000
"""Of a real city, in all its silos."""
STREETS = (
    "RUE DES OLIVIERS", "RUE DU MISTRAL", "BOULEVARD DES PINS", "AVENUE DES CIGALES", "RUE DE LA CALANQUE",
    "TRAVERSE DU LAVOIR", "RUE DES PECHEURS", "CHEMIN DU VALLON", "RUE DU FOUR", "PLACE DES PLATANES",
    "BOULEVARD DE LA CORNICHE", "RUE DES TUILERIES", "IMPASSE DES LAURIERS", "RUE DE LA FONTAINE",
    "COURS DES MICOCOULIERS",
    "RUE DU SAVON", "AVENUE DU GRAND LARGE", "RUE DES RAMPES", "MONTEE DES ACCOULES NEUVES", "RUE DU THYM",
    "QUAI DES TARTANES", "RUE DES SANTONS", "CHEMIN DES BASTIDES", "RUE DE LA POUNCHE",
)  # fmt: skip
"""Made-up streets."""


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """The random generator of a purpose, such as ``generator(7, "fines", day.toordinal())``."""
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in parts]
    return np.random.Generator(np.random.PCG64([seed, *words]))


class Choice:
    """Weighted choices among ``len(weights)`` things."""

    def __init__(self, weights: Sequence[float] | Floats) -> None:
        self._cumulated = np.cumsum(np.asarray(weights, dtype=np.float64))

    def draw(self, random: np.random.Generator, n: int) -> Integers:
        """``n`` indices."""
        points = random.random(n) * self._cumulated[-1]
        return np.asarray(np.searchsorted(self._cumulated, points, side="right"), dtype=np.int64)


def thinned(count: int, scale: float) -> Integers:
    """Which of ``count`` places send at a scale: every n-th, where n is the whole number nearest to 1 / scale."""
    return np.arange(0, count, max(round(1 / scale), 1))


def spread(random: np.random.Generator, mean: float) -> int:
    """A count around ``mean``, up or down by at most a tenth."""
    return round(mean * (0.9 + 0.2 * random.random()))


@dataclass(frozen=True)
class Addresses:
    """Where things happen: ``SPOTS * NUMBERS`` points of every zone, each certain to lie in the city.

    ``table`` has ``lon`` and ``lat`` (text, at most five decimals), ``zone_id``, ``area_id``, ``number``, ``street``.
    ``weight`` is heavy-tailed: a few streets of a few central zones draw most.
    """

    table: pl.DataFrame
    weight: Floats


def centrality(city: City) -> Floats:
    """How much a zone draws, one number per row of ``city.points``: the nearer to the centre, the more."""
    points, places = city.points, city.places if city.places.height else city.points
    centre_lon, centre_lat = (sorted(places[name].to_list())[places.height // 2] for name in ("lon", "lat"))
    squeeze = 0.73  # a degree of longitude at this latitude, roughly; only proportions matter
    east = (points["lon"].to_numpy() - centre_lon) * squeeze * 111.2
    north = (points["lat"].to_numpy() - centre_lat) * 111.2
    return np.asarray(1 / (1 + (east * east + north * north) / 4))


def addresses(city: City, seed: int) -> Addresses:
    """The addresses of a city, the same for every silo."""
    random = generator(seed, "addresses")
    zones, per_zone = city.points.height, SPOTS * NUMBERS
    radius = np.sqrt(city.points["area_km2"].to_numpy() / np.pi) * 0.6 / 111.2  # degrees, well within most zones
    spot = (random.random((2, zones, SPOTS, 1)) - 0.5) * 2 * radius[:, None, None]
    near = (random.random((2, zones, SPOTS, NUMBERS)) - 0.5) * 0.0012
    home = city.points.select("lon", "lat").to_numpy().T
    lon, lat = ((home[:, :, None, None] + spot + near).round(5)).reshape(2, -1)
    # A point that fell outside the city, in the sea for example, moves to its zone's own point.
    outside = city.locate(pl.Series(lon), pl.Series(lat)).is_null().to_numpy()
    lon, lat = np.where(outside, np.repeat(home, per_zone, axis=1), [lon, lat])
    table = (
        pl.DataFrame({"lon": lon, "lat": lat, "zone_id": city.locate(pl.Series(lon), pl.Series(lat))})
        .join(city.zones.select("zone_id", "area_id"), on="zone_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("lon", "lat").cast(pl.String),
            number=pl.Series(random.integers(1, 200, zones * per_zone)),
            street=pl.Series(STREETS).gather(np.repeat(random.integers(0, len(STREETS), zones * SPOTS), NUMBERS)),
        )
    )
    by_rank = np.array([1 / rank for rank in range(1, SPOTS + 1)])
    weight = centrality(city)[:, None] * by_rank * (0.5 + random.random((zones, SPOTS)))
    return Addresses(table, np.repeat(weight.ravel(), NUMBERS))


@dataclass(frozen=True)
class Vehicles:
    """Made-up vehicles.

    Their plates are well-formed, of series that France has not reached and will not for years, so that none is a real
    car's. ``draw`` favours a few: the most fined vehicle draws about a thousand times the median one.
    """

    plates: pl.Series

    def draw(self, random: np.random.Generator, n: int) -> Integers:
        """``n`` indices into ``plates``."""
        point = random.random(n)
        root = np.sqrt(point)
        # The power 1.75, by roots only: at rank r the density falls as r to the power of -3/7.
        return (len(self.plates) * point * root * np.sqrt(root)).astype(np.int64)


_LETTERS = "ABCDEFGHJKLMNPQRSTVWXYZ"
_FUTURE = "RTV"
_THIRD = _LETTERS.replace("S", "")  # the pair SS is never issued


def vehicles(seed: int, count: int) -> Vehicles:
    """``count`` vehicles, each with its own plate (SIV: AA-123-AA)."""
    letters = len(_LETTERS)
    series = len(_FUTURE) * letters * len(_THIRD) * letters
    if count > series * 999:
        raise ValueError(f"there are plates for {series * 999} vehicles, not for {count}")
    step = 7_368_787  # a prime that divides no number of plates here: neighbours in rank get distant plates
    offset = int(generator(seed, "plates").integers(series * 999))
    number = (np.arange(count, dtype=np.int64) * step + offset) % (series * 999)
    series_number, digits = np.divmod(number, 999)
    quotient, fourth = np.divmod(series_number, letters)
    quotient, third = np.divmod(quotient, len(_THIRD))
    first, second = np.divmod(quotient, letters)
    parts = pl.DataFrame(
        {
            "a": pl.Series(list(_FUTURE)).gather(first),
            "b": pl.Series(list(_LETTERS)).gather(second),
            "n": pl.Series(digits + 1).cast(pl.String).str.zfill(3),
            "c": pl.Series(list(_THIRD)).gather(third),
            "d": pl.Series(list(_LETTERS)).gather(fourth),
        }
    )
    return Vehicles(parts.select(pl.format("{}{}-{}-{}{}", "a", "b", "n", "c", "d")).to_series())
