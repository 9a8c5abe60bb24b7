"""What an analyst can read of a city: release files, their bytes, and the public lists that grids are made of."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import polars as pl

from infra import object_store
from infra.city.profile import City, load_city
from infra.settings import Settings

PERIOD = ("quarter_start", "period_start", "period_end", "days_covered", "days_in_period")
_MANIFEST = re.compile(r"releases/(?P<mart>[^/]+)/v(?P<version>\d+)\.json")


@dataclass(frozen=True)
class Table:
    """One published mart, as its columns say: nothing here knows the mart's name."""

    frame: pl.DataFrame

    @property
    def measure(self) -> str:
        """The column of counts: the one with a label beside it."""
        names = set(self.frame.columns)
        (found,) = [name.removesuffix("_label") for name in self.frame.columns if name.endswith("_label")]
        if found not in names:
            raise ValueError(f"label {found}_label stands beside no column {found}")
        return found

    @property
    def dimensions(self) -> list[str]:
        """Columns that make a cell, with the period; names repeat what ids say."""
        before = self.frame.columns[: self.frame.columns.index(self.measure)]
        return [name for name in before if name not in PERIOD and not name.endswith("_name")]

    @property
    def companions(self) -> list[str]:
        after = self.frame.columns[self.frame.columns.index(self.measure) + 1 :]
        return [name for name in after if not name.endswith("_label")]

    @property
    def key(self) -> list[str]:
        return ["period_start", *self.dimensions]

    def shown(self) -> pl.DataFrame:
        return self.frame.filter(pl.col(self.measure).is_not_null())


@dataclass(frozen=True)
class Published:
    """The newest version of every mart, and every release file ever put there."""

    tables: Mapping[str, Table]
    files: Mapping[str, bytes]
    manifests: Mapping[str, bytes]


def read(settings: Settings) -> Published:
    """All that role ``analyst`` may read of a lake's releases."""
    store = object_store.client(settings, "analyst")
    keys = list(object_store.list_keys(store, "lake", "releases/"))
    with ThreadPoolExecutor(8) as pool:  # thousands of small files
        objects = dict(zip(keys, pool.map(lambda key: object_store.get_bytes(store, "lake", key), keys), strict=True))
    manifests = {key: data for key, data in objects.items() if _MANIFEST.fullmatch(key)}
    files = {key: data for key, data in objects.items() if key.endswith(".parquet")}
    newest: dict[str, tuple[int, str]] = {}
    for key in manifests:
        found = _MANIFEST.fullmatch(key)
        assert found
        mart = found["mart"]
        newest[mart] = max(newest.get(mart, (0, "")), (int(found["version"]), key))
    tables = {}
    for mart, (_, key) in sorted(newest.items()):
        parts = [pl.read_parquet(io.BytesIO(files[name])) for name in sorted(_file_names(manifests[key]))]
        if parts:
            tables[mart] = Table(pl.concat(parts))
    return Published(tables, files, manifests)


def _file_names(manifest: bytes) -> Iterator[str]:
    yield from set(re.findall(r'"([^"]+\.parquet)"', manifest.decode()))


def zones(settings: Settings) -> pl.DataFrame:
    """The public list of zones: ``zone_id, area_id, published_zone_id``; the city's profile is public."""
    city: City = load_city(settings)
    return city.zones.select("zone_id", "area_id", "published_zone_id")


def documents(settings: Settings) -> dict[str, Any]:
    """Objects of the steward site, which all roles may read."""
    store = object_store.client(settings, "analyst")
    return {key: object_store.get_bytes(store, "docs", key) for key in object_store.list_keys(store, "docs")}
