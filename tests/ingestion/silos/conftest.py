"""Fixtures of the silo tests: the two cities, and a way to deliver."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from silo_delivery import Deliver, Outcome, run

from infra.city.profile import City, load_city
from infra.keys.store import KeyStore
from infra.settings import Settings


@pytest.fixture
def deliver(tmp_path: Path) -> Deliver:
    """Deliver a file to a silo of a city; the keys are the test's own."""
    keys = KeyStore(tmp_path / "keys")

    def to(silo: str, path: Path, city: City) -> Outcome:
        return run(silo, path, city, keys, Path(tempfile.mkdtemp(dir=tmp_path)))

    return to


@pytest.fixture(scope="session")
def marseille(tmp_path_factory: pytest.TempPathFactory) -> City:
    return load_city(Settings(home=tmp_path_factory.mktemp("marseille"), city="marseille", geo=None))


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> City:
    return load_city(Settings(home=tmp_path_factory.mktemp("elsewhere"), city="elsewhere", geo=None))
