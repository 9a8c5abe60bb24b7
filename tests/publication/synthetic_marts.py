"""Candidates made from the contracts alone, so that publication can be tried without dbt or data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from infra import database, object_store, registry
from infra.build_spec import BuildSpec, CityReference, Place, Unit, Zone
from infra.calendar.days import DayRange
from infra.settings import Settings
from privacy.plan import plan
from publication import contracts, settling
from publication.builds import candidates
from publication.builds.candidates import Build, BuiltMart, BuiltUnit, Column, Mart
from publication.contracts import CONTRACTS, Contract, Reference
from publication.releases import parquet

Q1, Q2 = date(2026, 1, 1), date(2026, 4, 1)
COVERAGE = DayRange(first_day=date(2026, 3, 10), last_day=date(2026, 5, 20))
SILOS = sorted({mart.silo for mart in plan().marts.values()})

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


def units(mart: str, coverage: DayRange = COVERAGE, edition: int = 1) -> tuple[Unit, ...]:
    """The units of a mart that the lake covers to their end."""
    return tuple(
        unit.model_copy(update={"edition": edition})
        for unit in settling.units(mart, plan().marts[mart].release, coverage)
        if unit.last_day <= coverage.last_day
    )


def spec(build_id: str = "b1", of: Iterable[Unit] | None = None, coverage: DayRange = COVERAGE) -> BuildSpec:
    """A build of these units; of every unit of every mart by default."""
    return BuildSpec(
        build_id=build_id,
        tables={},
        units=tuple(of) if of is not None else tuple(unit for mart in CONTRACTS for unit in units(mart, coverage)),
        coverage=dict.fromkeys(SILOS, (coverage,)),
        city=CITY,
    )


def silo_of(mart: str) -> str:
    return plan().marts[mart].silo


def reference(contract: Contract, of: BuildSpec | None = None) -> Reference:
    return Reference.of(of or spec(), contract.mart, silo_of(contract.mart), PLACES)


def make(contract: Contract, known: Reference, seed: int = 0) -> pl.DataFrame:
    """A mart that keeps its contract: the whole grid, heavy-tailed counts, small ones hidden."""
    grid = known.periods(contract.period)
    for dimension in contract.dimensions:
        values = pl.DataFrame({dimension.column: list(dimension.values(known))})
        if dimension.name and dimension.names:
            names = dimension.names(known)
            values = values.with_columns(pl.col(dimension.column).replace_strict(names).alias(dimension.name))
        grid = grid.join(values, how="cross")
    random = np.random.default_rng([seed, *contract.mart.encode()])
    measure = contract.measure
    counts = random.negative_binomial(1, 0.5 / measure.threshold, grid.height)
    counts[:2] = (0, 2 * measure.threshold)[: grid.height]  # some are hidden and some are shown
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
        version="c1",
    )


def fingerprint(unit: Unit, frame: pl.DataFrame) -> str:
    """Something that equal rows of a unit have in common, in the place of a fingerprint of exact counts."""
    rows = frame.filter(pl.col("period_start").is_between(unit.first_day, unit.last_day))
    return hashlib.sha256(f"{unit.mart} {rows.rows()}".encode()).hexdigest()


def stage(
    settings: Settings,
    of: BuildSpec,
    frames: Mapping[str, pl.DataFrame],
    scratch: Path,
    *,
    commit_seq: int = 1,
    description: str = "A mart.",
    beside: Iterable[BuiltUnit] = (),
    compares: bool = False,
    rows: int = 1000,
) -> Build:
    """Store ``frames`` as the candidates of a finished build; what their rows are decides their fingerprints."""
    store = object_store.client(settings, "publisher")
    declare(settings, of)
    marts = []
    for mart, frame in frames.items():
        sha256 = write(scratch / "candidate.parquet", frame)
        key = candidates.key(of.build_id, mart)
        object_store.put_file(store, candidates.BUCKET, key, scratch / "candidate.parquet")
        built = declared(contracts.of(mart), description)
        marts.append(BuiltMart(mart=built, rows=frame.height, sha256=sha256))
    build = Build(
        build_id=of.build_id,
        commits=dict.fromkeys(SILOS, commit_seq),
        spec=of,
        places=PLACES,
        marts=tuple(marts),
        units=(
            *(
                BuiltUnit(unit=unit, silo=silo_of(mart), fingerprint=fingerprint(unit, frame), due=True, rows=rows)
                for mart, frame in frames.items()
                for unit in of.units_of(mart)
            ),
            *beside,
        ),
        compares=compares,
        seconds=0.0,
    )
    candidates.save(store, build)
    return build


def declare(settings: Settings, of: BuildSpec) -> None:
    """Declare the days of a build, as people had done before it was made."""
    with database.connect(settings, "publisher", "lake") as connection:
        for silo in of.coverage:
            registry.declare(
                connection,
                silo,
                of.covered_days(silo),
                source="steward",
                said_by="tests",
                said_at=datetime.now(UTC),
            )


def release_row(mart: str) -> registry.ReleaseRow:
    """A line of the registry that says of which silo a mart is."""
    return registry.ReleaseRow(
        mart=mart,
        version=1,
        build_id="b",
        code_version="c1",
        commit_seq=1,
        rows=0,
        period_start=None,
        period_end=None,
        sha256="",
        manifest_key="",
        manifest={"silo": silo_of(mart)},
        snapshot_id=None,
        status="released",
        released_at=None,
    )
