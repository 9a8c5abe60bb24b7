"""What the register says of each silo in plain words, without importing it.

Airflow reads its DAG files again and again. All they need is a few sentences and a cadence, which the modules of
:mod:`ingestion.silos` write as literals: those are read from the source, and the engine that these modules import
(Polars, pandera) stays where it is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

_SILOS = Path(__file__).parent / "silos"


@dataclass(frozen=True)
class Declared:
    """A part of :class:`ingestion.register.Silo`, word for word."""

    name: str
    title: str
    steward: str
    purpose: str
    legal_basis: str
    cadence: str
    datasets: tuple[str, ...]  # their names


@cache
def silos() -> Mapping[str, Declared]:
    """Every registered silo by name, in alphabetical order.

    Raises:
        ValueError: a module declares one of these fields as anything but a literal; the message names both.
    """
    found = (_read(path) for path in sorted(_SILOS.glob("*.py")) if not path.name.startswith("_"))
    return {declared.name: declared for declared in found}


def _read(path: Path) -> Declared:
    for statement in ast.parse(path.read_text("utf-8")).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="SILO")], value=ast.Call(keywords=keywords)):
                said = {keyword.arg: keyword.value for keyword in keywords}
                words = [field.name for field in fields(Declared) if field.name != "datasets"]
                return Declared(
                    **{name: _literal(path, name, said) for name in words},
                    datasets=tuple(_names(path, said.get("datasets"))),
                )
    raise ValueError(f"{path.name} declares no SILO")


def _names(path: Path, datasets: ast.expr | None) -> Iterator[str]:
    """The names of the datasets that are declared, each a call of ``Dataset``."""
    for made in datasets.elts if isinstance(datasets, ast.Tuple) else ():
        if isinstance(made, ast.Call):
            yield _literal(path, "name", {keyword.arg: keyword.value for keyword in made.keywords})


def _literal(path: Path, name: str, said: Mapping[str | None, ast.expr]) -> str:
    try:
        return str(ast.literal_eval(said[name]))
    except (KeyError, ValueError):
        raise ValueError(f"{path.name}: SILO must give {name} as a literal, for DAGs are made from it") from None
