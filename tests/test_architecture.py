"""Imports point one way.

``dags > calanque > stewardship > {analysis, live} > {ingestion, publication} > privacy > infra``

Rooms of one storey never import each other; ``benchmarks`` and ``tests`` may import all. Inside ``infra`` the
foundation does not import the machines. There is no list of exceptions.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STOREYS = (
    ("infra",),
    ("privacy",),
    ("ingestion", "publication"),
    ("analysis", "live"),
    ("stewardship",),
    ("calanque",),
    ("dags",),
)
ROOMS = {room: storey for storey, rooms in enumerate(STOREYS) for room in rooms}
MACHINES = ("infra.access_log", "infra.airflow_api", "infra.backup", "infra.provisioning", "infra.services")
LOADED_BY_AIRFLOW = ("dags.", "calanque.orchestration.", "infra.services.airflow_setup")


def imported_modules(source: str) -> set[str]:
    """Absolute names of every module a source file imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return found


def offences(module: str, source: str) -> list[str]:
    """What ``module`` (``ingestion.landing``) imports and may not."""
    room, machine = module.partition(".")[0], module.startswith(MACHINES)

    def may(name: str) -> bool:
        other = name.partition(".")[0]
        if other == "airflow":
            return module.startswith(LOADED_BY_AIRFLOW)
        if other not in ROOMS:
            return other not in {"benchmarks", "tests"}
        if other == room:
            return machine or room != "infra" or not name.startswith(MACHINES)
        return ROOMS[other] < ROOMS[room]

    return sorted(name for name in imported_modules(source) if not may(name))


def product_files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", product_files(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    assert not offences(name_of(path), path.read_text())


@pytest.mark.parametrize(
    ("module", "source", "offence"),
    [
        ("ingestion.landing", "def f():\n    from publication.release import release\n", "publication.release"),
        ("ingestion.landing", "from airflow.sdk import DAG\n", "airflow.sdk"),
        ("privacy.spending", "import ingestion.register\n", "ingestion.register"),
        ("infra.registry.commits", "from privacy import ledger\n", "privacy.ledger"),
        ("infra.catalog", "from infra import services\n", "infra.services"),
        ("stewardship.site.making", "import calanque.cli\n", "calanque.cli"),
        ("dags.silos", "import benchmarks.steps\n", "benchmarks.steps"),
    ],
)
def test_the_rule_can_fail(module: str, source: str, offence: str) -> None:
    assert offence in offences(module, source)


def test_every_package_is_a_room() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "benchmarks"}
    assert packages <= set(ROOMS)


def test_dbt_project_holds_no_python() -> None:
    assert not [path for path in (ROOT / "dbt_project").rglob("*.py") if "target" not in path.parts]
