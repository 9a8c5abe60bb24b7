"""Dependencies point one way: composition roots -> {ingestion, publication} -> infra."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMPOSITION_ROOTS = ("infra/cli", "infra/bench", "infra/orchestration", "infra/watch", "infra/metrics", "infra/site")


def imported_modules(source: str) -> set[str]:
    """Absolute names of every module a source file imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def forbidden(relative: str) -> tuple[str, ...]:
    """Top-level packages that the file at ``relative`` may not import."""
    if relative.startswith("infra/orchestration/"):  # loaded by Airflow itself
        return ()
    if relative.startswith(COMPOSITION_ROOTS):
        return ("airflow",)
    if relative == "infra/services/airflow_setup.py":  # a program of its own, run inside Airflow's configuration
        return ("ingestion", "publication")
    others = {"infra": ("ingestion", "publication"), "ingestion": ("publication",), "publication": ("ingestion",)}
    return (*others[relative.partition("/")[0]], "airflow")


def product_files() -> list[Path]:
    return sorted(path for package in ("infra", "ingestion", "publication") for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", product_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_dependencies_point_one_way(path: Path) -> None:
    banned = forbidden(str(path.relative_to(ROOT)))
    offenders = {name for name in imported_modules(path.read_text()) if name.split(".")[0] in banned}
    assert not offenders, f"{path.relative_to(ROOT)} may not import {sorted(offenders)}"


def test_the_rule_can_fail() -> None:
    source = "def f():\n    from publication.release import release\n    import airflow.sdk\n"
    assert {name.split(".")[0] for name in imported_modules(source)} & set(forbidden("ingestion/landing.py")) == {
        "publication",
        "airflow",
    }


def test_nothing_imports_a_composition_root() -> None:
    roots = tuple(root.replace("/", ".") for root in COMPOSITION_ROOTS)
    offenders = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in product_files()
        if not str(path.relative_to(ROOT)).startswith(COMPOSITION_ROOTS)
        for name in imported_modules(path.read_text())
        if name.startswith(roots)
    ]
    assert not offenders


def test_dbt_project_holds_no_python() -> None:
    assert not [path for path in (ROOT / "dbt_project").rglob("*.py") if "target" not in path.parts]
