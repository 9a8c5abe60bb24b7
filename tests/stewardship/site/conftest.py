"""The site of the real register and marts, with a made-up history, built once."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_sample import sample

from infra.settings import Settings
from stewardship.site import build, declared
from stewardship.site.build import Built
from stewardship.site.facts import Facts


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """What the register, the plan and the dbt project say, with the made-up history."""
    return sample(declared.gather(Settings(home=tmp_path_factory.mktemp("home"))))


@pytest.fixture(scope="session")
def editions(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    """Both editions, built."""
    folder = tmp_path_factory.mktemp("editions")
    page = folder / "dbt.html"
    page.write_text('<!doctype html><html lang="en"><title>dbt</title><p>dbt</p>')
    return {edition: build.build(facts, folder / edition, edition=edition, dbt=page) for edition in build.EDITIONS}


@pytest.fixture(scope="session")
def stewards(editions: dict[str, Built]) -> Path:
    return editions["stewards"].folder


@pytest.fixture(scope="session")
def everybody(editions: dict[str, Built]) -> Path:
    return editions["site"].folder
