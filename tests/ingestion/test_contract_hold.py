"""A major version of a contract that nobody approved: deliveries wait, and nothing is lost."""

from __future__ import annotations

import uuid
from dataclasses import replace

import essai
import pytest

from infra import contract_versions, database, registry, transient
from infra.calendar import clock
from infra.settings import Settings
from ingestion import pipeline
from ingestion.contracts import silo_documents
from ingestion.delivery import landing
from ingestion.register import Silo

pytestmark = pytest.mark.live


def versioned(silo: Silo, version: str) -> Silo:
    return replace(silo, datasets=(replace(silo.datasets[0], version=version), *silo.datasets[1:]))


def test_deliveries_wait_for_the_steward_and_are_then_ingested(lake: Settings) -> None:
    silo = essai.make(f"essai_{uuid.uuid4().hex[:12]}")

    def deliver(name: str, record: str) -> None:
        essai.deliver(lake, silo.name, name, essai.csv(essai.RECORDS, [(record, essai.day(0), 2, None)]))
        landing.sweep(lake, silo.name)

    with essai.registered(silo):
        deliver("first.csv", "a")
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]
    with essai.registered(versioned(silo, "1.1.0")):
        deliver("second.csv", "b")
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]
    major = versioned(silo, "2.0.0")
    with essai.registered(major):
        deliver("third.csv", "c")
        with pytest.raises(pipeline.IngestionError, match=r"2\.0\.0 .* is not approved, 1\.1\.0") as held:
            pipeline.ingest(lake, silo.name)
        assert not transient.transient(held.value)  # trying again does not help
        with database.connect(lake, "publisher", "lake") as connection:
            [waiting] = registry.landed_deliveries(connection, silo.name)
            assert (waiting.file_name, waiting.attempts) == ("third.csv", 0)
            document = silo_documents.of(major, major.datasets[0])
            contract_versions.put_in_force(connection, document, clock.now(lake), "change_contract/run")
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]
    assert sorted(essai.table(lake, silo.datasets[0])["record"]) == ["a", "b", "c"]
