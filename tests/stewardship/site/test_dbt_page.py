"""dbt's own page of the project: its graph, and the type of every column, without a lake and without a figure."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra.settings import Settings
from publication.contracts import CONTRACTS
from stewardship.site import dbt_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("home")
    made = dbt_page.page(Settings(home=home, quiet=True))
    assert dbt_page.page(Settings(home=home, quiet=True)).stat().st_ino == made.stat().st_ino  # once for each version
    text = made.read_text(encoding="utf-8")
    assert str(home) not in text
    return text


def test_the_catalog_knows_the_type_of_every_column_of_a_mart(page: str) -> None:
    nodes = catalog(page)["nodes"]
    for mart, contract in CONTRACTS.items():
        columns = nodes[f"model.calanque.{mart}"]["columns"]
        assert {name: column["type"].lower() for name, column in columns.items()} == dict(contract.columns), mart


def test_no_model_has_a_row(page: str) -> None:
    for name, node in catalog(page)["nodes"].items():
        assert name.startswith("seed.") or "row_count" not in node["stats"], name


def catalog(page: str) -> dict[str, Any]:
    begin = re.search(r'\{"metadata": ?\{"dbt_schema_version": ?"https://schemas.getdbt.com/dbt/catalog', page)
    assert begin
    found: dict[str, Any] = json.JSONDecoder().raw_decode(page[begin.start() :])[0]
    return found
