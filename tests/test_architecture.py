"""Imports point one way.

``dags > calanque > stewardship > {analysis, live} > {ingestion, publication} > privacy > infra``

Rooms of one storey never import each other; ``benchmarks`` and ``tests`` may import all. Inside ``infra`` the
foundation does not import the machines. There is no list of exceptions. And no room is a bag of things.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from infra import logs

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
MACHINES = "infra.machines"
LARGEST_ROOM = 0.2  # of all lines of Python and SQL
ROOMS_WITHIN = (("infra", "machines"), ("ingestion", "silos"))  # each counts as a room of its own
MOST_MODULES = 16  # loose ones in a folder
LOADED_BY_AIRFLOW = ("dags.", "calanque.orchestration.", "infra.machines.airflow.setup")


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
    """What ``module`` (``ingestion.delivery.landing``) imports and may not."""
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
        (
            "ingestion.delivery.landing",
            "def f():\n    from publication.releases.release import release\n",
            "publication.releases.release",
        ),
        ("ingestion.delivery.landing", "from airflow.sdk import DAG\n", "airflow.sdk"),
        ("privacy.spending", "import ingestion.register\n", "ingestion.register"),
        ("infra.registry.commits", "from privacy import ledger\n", "privacy.ledger"),
        ("infra.catalog", "from infra.machines import services\n", "infra.machines.services"),
        ("stewardship.site.making", "import calanque.cli\n", "calanque.cli"),
        ("dags.silos", "import benchmarks.steps\n", "benchmarks.steps"),
    ],
)
def test_the_rule_can_fail(module: str, source: str, offence: str) -> None:
    assert offence in offences(module, source)


def test_every_package_is_a_room() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "benchmarks"}
    assert packages <= set(ROOMS)


def test_a_room_is_known_wherever_rooms_are_listed() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(logs.PACKAGES) == rooms
    assert {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]} == rooms
    assert set(project["tool"]["mypy"]["packages"]) == rooms | {"benchmarks"}
    [compiled] = [line for line in (ROOT / "Makefile").read_text().splitlines() if "compileall" in line]
    assert set(compiled.partition("-q ")[2].split()) == rooms | {"dags"}


def test_the_picture_of_the_rooms_shows_who_may_import_whom() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text().partition("## The rooms\n")[2].split("```")[1]
    lines = [line for line in picture.splitlines() if "-->" in line]
    arrows = {tuple(re.findall(r"(\w+)(?:\[[^]]*\])?(?: -->|$)", line)) for line in lines}
    assert all(ROOMS[below] < ROOMS[above] for above, below in arrows)
    reached = {room: {below for above, below in arrows if above == room} for room in ROOMS if (ROOT / room).is_dir()}
    for _ in ROOMS:
        reached = {room: below.union(*(reached[other] for other in below)) for room, below in reached.items()}
    assert reached == {room: {other for other in reached if ROOMS[other] < ROOMS[room]} for room in reached}


def test_no_room_is_a_bag() -> None:
    files = [*product_files(), *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "dbt_project").rglob("*.sql")]
    lines, modules = Counter[str](), Counter[Path]()
    for path in files:
        place = path.relative_to(ROOT).parts
        lines["/".join(place[:2]) if place[:2] in ROOMS_WITHIN else place[0]] += len(path.read_text().splitlines())
        modules[path.parent] += path.suffix == ".py" and path.name != "__init__.py"
    assert {room: count for room, count in lines.items() if count > LARGEST_ROOM * lines.total()} == {}
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_dbt_project_holds_no_python() -> None:
    assert not [path for path in (ROOT / "dbt_project").rglob("*.py") if "target" not in path.parts]
