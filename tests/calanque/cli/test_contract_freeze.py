"""``calanque contract freeze`` of a silo that dbt knows nothing of yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from calanque.cli import app
from calanque.cli.commands import contracts
from ingestion.contracts import dbt_sources


def test_the_source_of_a_new_silo_gets_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = tmp_path / "staging" / "lighting" / "_lighting__sources.yml"
    monkeypatch.setattr(dbt_sources, "files", lambda: [(new, "version: 2\n")])
    monkeypatch.setattr(contracts, "documents", list)
    said = CliRunner().invoke(app, ["contract", "freeze"])
    assert said.exit_code == 0, said.output
    assert new.read_text() == "version: 2\n"
    assert "sources of lighting" in said.output
    assert "1 written" in said.output
    assert "0 written" in CliRunner().invoke(app, ["contract", "freeze"]).output
