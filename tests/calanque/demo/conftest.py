"""A small demo city, generated once, and what the real checks and conforming make of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from calanque.demo.score import DELIVERIES, LOADED, REJECTS, Outcome
from infra.city.profile import City, load_city
from infra.keys.store import KeyStore
from infra.settings import Settings
from ingestion.conformed.schemas import file_schema
from ingestion.delivery.arrivals import waiting
from ingestion.formats.opening import open_delivery
from ingestion.formats.reading import read_batches
from ingestion.formats.recognition import recognise, sample
from ingestion.refusal import Refused
from ingestion.register import silos
from ingestion.rows.conforming import conform
from ingestion.rows.pseudonyms import Pseudonymiser


@pytest.fixture(scope="session")
def marseille() -> City:
    return load_city(Settings(city="marseille", geo=None))


def outcome_of(drop: Path, city: City, scratch: Path) -> Outcome:
    """What becomes of every file of a drop folder by the real opening, recognition, contracts and conforming.

    The commit alone is played: of rows with the same key the last delivered stays, and the same bytes count once.
    """
    deliveries, rejects, loaded = [], [], []
    for silo in silos().values():
        known: set[str] = set()
        lines: list[pl.DataFrame] = []
        for path in sorted(drop / silo.name / arrival.name for arrival in waiting(drop / silo.name)):
            delivery_id = hashlib.sha256(path.read_bytes()).hexdigest()
            if delivery_id in known:
                continue
            known.add(delivery_id)
            folder = scratch / delivery_id[:12] / silo.name
            folder.mkdir(parents=True)
            try:
                opened = open_delivery(path, path.name, folder)
                accepted = recognise(silo, sample(opened.path), path.name)
                dataset = silo.dataset(accepted.dataset)
                conformed = conform(
                    lambda opened=opened, accepted=accepted: read_batches(opened.path, accepted),
                    dataset=dataset,
                    accepted=accepted,
                    city=city,
                    pseudonymiser=Pseudonymiser(silo.name, KeyStore(scratch / "keys")),
                    schema=file_schema(dataset),
                    delivery_id=delivery_id,
                    scratch=folder,
                )
            except Refused as refused:
                deliveries.append((silo.name, delivery_id, path.name, "refused", refused.rule, []))
                continue
            deliveries.append((silo.name, delivery_id, path.name, "committed", None, list(opened.notes)))
            rejects.append(
                conformed.rejects.select(
                    pl.lit(silo.name).alias("silo"), pl.lit(delivery_id).alias("delivery_id"), "row", "rule", "severity"
                ).collect()
            )
            columns = [*dataset.key, "event_date", "delivery_id"]
            lines += [pl.read_parquet(file.path, columns=columns).select(columns) for file in conformed.files]
        if not lines:
            continue
        last = pl.concat(lines).unique(dataset.key, keep="last", maintain_order=True)
        counts = last.group_by("delivery_id", "event_date").agg(rows=pl.len().cast(pl.Int64))
        loaded.append(counts.select(pl.lit(silo.name).alias("silo"), "delivery_id", "event_date", "rows"))
    return Outcome(
        deliveries=pl.DataFrame(deliveries, schema=DELIVERIES, orient="row"),
        rejects=pl.concat([pl.DataFrame(schema=REJECTS), *rejects]),
        loaded=pl.concat([pl.DataFrame(schema=LOADED), *loaded]),
    )
