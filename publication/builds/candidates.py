"""A build and its candidates: what dbt made of which inputs, before anyone has judged it.

Bucket ``lake``, ``candidates/<build_id>/``: ``build.json`` and one Parquet file per good mart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minio import Minio
from pydantic import BaseModel, ConfigDict

from infra import object_store
from infra.build_spec import BuildSpec, Edition, Unit

BUCKET = "lake"
PREFIX = "candidates/"
COMPARING = "compare-"
"""How the ids begin of builds that publish nothing."""


class UnknownBuildError(LookupError):
    """No candidates are stored under this build id."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    """A column of a mart, as dbt documents it; ``type`` is DuckDB's, in lower case."""

    name: str
    type: str
    description: str


class Mart(_Model):
    """A mart, as the dbt project declares it. ``grain`` are the columns that identify a row.

    ``fitted_to`` are marts of the same silo, published by the month, whose totals its quarters add up to. ``version``
    is a digest of all that decides its content beside its data (:mod:`publication.builds.project`).
    """

    name: str
    silo: str
    grain: tuple[str, ...]
    description: str
    columns: tuple[Column, ...]
    relation: str
    version: str
    fitted_to: tuple[str, ...] = ()


class Problem(_Model):
    """A dbt model or test that did not pass, and where to look. Never a value of the data.

    ``compiled`` is the path of its SQL below the lake's home.
    """

    node: str
    status: str
    message: str
    compiled: str | None = None

    def sentence(self) -> str:
        where = f"; its SQL is in {self.compiled}" if self.compiled else ""
        return f"{self.node} {self.status}: {self.message}{where}"


class BuiltMart(_Model):
    """What became of one mart in one build. A mart without problems is a candidate."""

    mart: Mart
    problems: tuple[Problem, ...] = ()
    rows: int = 0
    sha256: str | None = None
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return not self.problems


class BuiltUnit(_Model):
    """One unit of a build, as it was measured.

    ``due`` says that it is to be published, or, in a build that compares, that it was; the others stand beside those,
    because marts of one silo and period are measured together. ``fitted_to`` are the months, published before, that a
    quarter was fitted to. Of those that are due, ``rows`` is how many conformed
    rows its days have, and ``utility`` what is in its utility report: it holds exact figures.
    """

    unit: Unit
    silo: str
    fingerprint: str
    due: bool
    rows: int = 0
    utility: dict[str, Any] | None = None
    fitted_to: tuple[Edition, ...] = ()


class Build(_Model):
    """One run of dbt: its inputs, and what came out.

    ``build_id`` is a digest of the inputs, so that repeating a build replaces it. A build that ``compares`` publishes
    nothing: it makes again what is published. ``commits`` gives, by silo, the newest commit that the build saw.
    ``places`` are the names, by id, of the places of its grids. Of ``seconds``, ``sql_seconds`` were those in which a
    model ran; the others are dbt's start, its tests and the export.
    """

    build_id: str
    commits: dict[str, int]
    spec: BuildSpec
    places: dict[str, str]
    marts: tuple[BuiltMart, ...]
    units: tuple[BuiltUnit, ...]
    compares: bool = False
    seconds: float
    sql_seconds: float = 0.0

    def due_of(self, mart: str) -> tuple[BuiltUnit, ...]:
        """The units of a mart that are to be published, earliest first."""
        return tuple(built for built in self.units if built.due and built.unit.mart == mart)

    def family_of(self, one: BuiltUnit) -> tuple[BuiltUnit, ...]:
        """The units of other marts that were measured together with this one."""
        return tuple(
            other
            for other in self.units
            if other.silo == one.silo
            and other.unit.mart != one.unit.mart
            and (other.unit.first_day, other.unit.last_day) == (one.unit.first_day, one.unit.last_day)
        )

    @property
    def good(self) -> tuple[BuiltMart, ...]:
        return tuple(built for built in self.marts if built.good)

    @property
    def failed(self) -> tuple[BuiltMart, ...]:
        return tuple(built for built in self.marts if not built.good)

    def __repr__(self) -> str:
        return f"Build({self.build_id}: {len(self.good)} candidates, {len(self.failed)} failed, {self.seconds} s)"

    def report(self) -> dict[str, Any]:
        """What a person or a program wants to know of the build, in a few lines."""
        return {
            "build_id": self.build_id,
            "units": len([built for built in self.units if built.due]),
            "days": [f"{days.first_day} to {days.last_day}" for days in self.spec.ranges()],
            "seconds": self.seconds,
            "marts": {built.mart.name: built.rows for built in self.good},
            "failed": {built.mart.name: [each.sentence() for each in built.problems] for built in self.failed},
        }


def key(build_id: str, mart: str) -> str:
    return f"{PREFIX}{build_id}/{mart}.parquet"


def save(store: Minio, build: Build) -> None:
    """Store ``build.json``; its presence says that every candidate it names is there."""
    object_store.put_json(store, BUCKET, f"{PREFIX}{build.build_id}/build.json", build.model_dump(mode="json"))


def load(store: Minio, build_id: str) -> Build:
    """The build stored under ``build_id``.

    Raises:
        UnknownBuildError: it never finished, or was cleaned up.
    """
    try:
        return Build.model_validate(object_store.get_json(store, BUCKET, f"{PREFIX}{build_id}/build.json"))
    except KeyError:
        raise UnknownBuildError(
            f"build {build_id} has no candidates: it never finished, or a newer one was released; run `calanque run`"
        ) from None


def builds(store: Minio) -> Iterator[str]:
    """The ids of the finished builds to release whose candidates are still stored, oldest first."""
    found = [
        item
        for item in store.list_objects(BUCKET, prefix=PREFIX, recursive=True)
        if item.object_name.endswith("/build.json") and not item.object_name.startswith(f"{PREFIX}{COMPARING}")
    ]
    for item in sorted(found, key=lambda item: (item.last_modified, item.object_name)):
        yield item.object_name.removeprefix(PREFIX).removesuffix("/build.json")


def stored(store: Minio) -> set[str]:
    """The ids of all builds that have anything stored, finished or not."""
    return {key.removeprefix(PREFIX).split("/")[0] for key in object_store.list_keys(store, BUCKET, PREFIX)}


def discard(store: Minio, build_id: str) -> None:
    """Delete a build and its candidates, ``build.json`` first, so that half a build is never taken for a whole one."""
    prefix = f"{PREFIX}{build_id}/"
    for name in sorted(
        object_store.list_keys(store, BUCKET, prefix), key=lambda name: not name.endswith("/build.json")
    ):
        store.remove_object(BUCKET, name)
