"""Candidates made from the contracts alone, so that publication can be tried without dbt or data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from infra import object_store
from infra.build_spec import BuildSpec, CityReference, DayRange, Place, Zone
from infra.settings import Settings
from publication import candidates, contracts, parquet
from publication.candidates import Build, BuiltMart, Column, Mart
from publication.contracts import Contract, Reference

Q1, Q2 = date(2026, 1, 1), date(2026, 4, 1)
COVERAGE = DayRange(first_day=date(2026, 1, 10), last_day=date(2026, 5, 20))
SILO = {"fines": "verbalisations", "tows": "tows", "crowd": "crowd_flows", "footfall": "telecom_footfall"}

CITY = CityReference(
    name="petite",
    time_zone="Europe/Paris",
    footfall_measure="presence",
    zones=(
        *(
            Zone(
                zone_id=f"z{number}",
                zone_name=f"Quartier {number}",
                area_id=f"a{number // 2}",
                area_name=f"Arrondissement {number // 2}",
                published_zone_id=f"z{number}",
                published_zone_name=f"Quartier {number}",
            )
            for number in range(4)
        ),
        Zone(
            zone_id="unknown",
            zone_name="Unknown",
            area_id="unknown",
            area_name="Unknown",
            published_zone_id="unknown",
            published_zone_name="Unknown",
        ),
    ),
    places=(Place(place_id="port", place_name="Vieux-Port", zone_id="z1"),),
)
PLACES = {"port": "Vieux-Port", "plaine": "La Plaine", "unknown": "Unknown place"}


def spec(build_id: str = "b1", quarters: Iterable[date] = (Q1, Q2), coverage: DayRange = COVERAGE) -> BuildSpec:
    return BuildSpec(
        build_id=build_id,
        tables={},
        quarters=tuple(quarters),
        coverage=dict.fromkeys(SILO.values(), coverage),
        city=CITY,
    )


def silo_of(mart: str) -> str:
    return SILO[mart.split("_", maxsplit=1)[0]]


def reference(contract: Contract, of: BuildSpec | None = None) -> Reference:
    return Reference.of(of or spec(), silo_of(contract.mart), PLACES)


def make(contract: Contract, known: Reference, seed: int = 0) -> pl.DataFrame:
    """A mart that keeps its contract: the whole grid, heavy-tailed counts, small ones hidden."""
    grid = known.periods(contract.unit)
    for dimension in contract.dimensions:
        values = pl.DataFrame({dimension.column: list(dimension.values(known))})
        if dimension.name and dimension.names:
            names = dimension.names(known)
            values = values.with_columns(pl.col(dimension.column).replace_strict(names).alias(dimension.name))
        grid = grid.join(values, how="cross")
    random = np.random.default_rng([seed, *contract.mart.encode()])
    measure = contract.measure
    counts = random.negative_binomial(1, 0.02, grid.height)
    shown = pl.col(measure.column) >= measure.threshold
    frame = grid.with_columns(pl.Series(measure.column, counts)).with_columns(
        *(
            pl.Series(companion.column, random.integers(0, 2, grid.height)).alias(companion.column)
            for companion in contract.companions
        ),
        pl.when(shown).then(None).otherwise(pl.lit(measure.hidden)).alias(measure.label),
    )
    hidden = [measure.column, *(companion.column for companion in contract.companions)]
    frame = frame.with_columns(pl.when(shown).then(pl.col(hidden)))
    schema = contract.arrow_schema()
    return pl.DataFrame(frame.select(schema.names).sort(contract.order).to_arrow().cast(schema))


def write(path: Path, frame: pl.DataFrame) -> str:
    """Write a candidate file as building does; its SHA-256."""
    table = frame.to_arrow()
    schema = pa.schema(
        [
            (name, pa.string() if kind == pa.large_string() else kind)
            for name, kind in zip(table.schema.names, table.schema.types, strict=True)
        ]
    )
    parquet.write(path, schema, table.cast(schema).to_batches())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def declared(contract: Contract, description: str = "A mart.") -> Mart:
    return Mart(
        name=contract.mart,
        silo=silo_of(contract.mart),
        grain=contract.grain,
        description=description,
        columns=tuple(
            Column(name=name, type=kind, description=f"What {name} is.") for name, kind in contract.columns.items()
        ),
        relation=f'"marts"."{contract.mart}"',
    )


def stage(
    settings: Settings,
    of: BuildSpec,
    frames: Mapping[str, pl.DataFrame],
    scratch: Path,
    *,
    commit_seq: int = 1,
    description: str = "A mart.",
) -> Build:
    """Store ``frames`` as the candidates of a finished build."""
    store = object_store.client(settings, "publisher")
    marts = []
    for mart, frame in frames.items():
        sha256 = write(scratch / "candidate.parquet", frame)
        key = candidates.key(of.build_id, mart)
        object_store.put_file(store, candidates.BUCKET, key, scratch / "candidate.parquet")
        built = declared(contracts.of(mart), description)
        marts.append(BuiltMart(mart=built, rows=frame.height, sha256=sha256))
    build = Build(
        build_id=of.build_id,
        code_version="c1",
        commits=dict.fromkeys(SILO.values(), commit_seq),
        spec=of,
        places=PLACES,
        marts=tuple(marts),
        seconds=0.0,
    )
    candidates.save(store, build)
    return build
