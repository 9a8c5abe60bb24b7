"""dbt on the marts of one build: running it, and what it says of each of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from infra.errors import ExpectedError
from infra.settings import Settings
from publication.builds import project
from publication.builds.candidates import Mart, Problem
from publication.builds.project import Project


class BuildError(ExpectedError, RuntimeError):
    """The build as a whole stopped: dbt could not even start on the marts."""


def run(settings: Settings, work: Path, marts: Sequence[Mart], declared: Project) -> None:
    """Run dbt on ``marts`` and their parents, in the folder ``work``. Whether they passed: :func:`problems`.

    Raises:
        BuildError: dbt stopped before building anything.
    """
    target = work / "target"
    target.mkdir()
    shutil.copy(declared.folder / "partial_parse.msgpack", target)  # spares dbt parsing every file again
    done = subprocess.run(
        project.dbt_command(
            "build",
            project.PROJECT,
            target,
            "--indirect-selection",
            "buildable",
            "--exclude-resource-type",
            "unit_test",  # they test the project, not the data: `make test` runs them
            "--exclude",
            "resource_type:test,path:seeds",  # and so do the tests of seeds
            "--select",
            *(f"+{mart.name}" for mart in marts),
        ),
        env={
            **os.environ,
            **settings.environment(),
            "CALANQUE_BUILD_SPEC": str(work / "spec.json"),
            "CALANQUE_PARENT_PID": str(os.getpid()),
        },
        cwd=work,  # where the profile puts build.duckdb
        capture_output=True,
        text=True,
        check=False,
    )
    if not (target / "run_results.json").exists():
        raise BuildError(f"dbt stopped before building anything: {_without_values(done.stdout.strip()[-2000:])}")


def sql_seconds(work: Path) -> float:
    """How long any model was running, those that ran side by side counted once."""
    busy, until = 0.0, 0.0
    spans = []
    for result in json.loads((work / "target" / "run_results.json").read_text())["results"]:
        if result["unique_id"].startswith("model."):
            spans += [
                tuple(datetime.fromisoformat(timing[end]).timestamp() for end in ("started_at", "completed_at"))
                for timing in result["timing"]
                if timing["name"] == "execute"
            ]
    for began, ended in sorted(spans):
        busy += max(ended - max(began, until), 0.0)
        until = max(until, ended)
    return busy


def problems(work: Path, marts: Sequence[Mart]) -> dict[str, tuple[Problem, ...]]:
    """By mart, the models and tests among its parents and its own that did not pass, the first cause first."""
    manifest = json.loads((work / "target" / "manifest.json").read_text())
    results = {
        result["unique_id"]: result
        for result in json.loads((work / "target" / "run_results.json").read_text())["results"]
    }
    parents: Mapping[str, list[str]] = manifest["parent_map"]
    by_name = {node["name"]: key for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    found: dict[str, tuple[Problem, ...]] = {}
    for mart in marts:
        lineage = project.lineage_of(by_name[mart.name], parents)
        concerned = lineage | {test for test, tested in _tests(manifest) if tested in lineage}
        causes = [
            _problem(work, manifest, result)
            for key, result in results.items()
            if key in concerned and result["status"] in {"error", "fail", "runtime error", "partial success"}
        ]
        if not causes and results.get(by_name[mart.name], {}).get("status") != "success":
            causes = [Problem(node=mart.name, status="was not built", message="dbt skipped it or never came to it")]
        found[mart.name] = tuple(causes)
    return found


def _tests(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every test with each node it is about: the one it is attached to, or all that it reads."""
    for key, node in manifest["nodes"].items():
        if node["resource_type"] == "test":
            attached = node.get("attached_node")
            for tested in [attached] if attached else node["depends_on"]["nodes"]:
                yield key, tested
    for key, unit_test in manifest["unit_tests"].items():
        for tested in unit_test["depends_on"]["nodes"]:
            yield key, tested


def _problem(work: Path, manifest: Mapping[str, Any], result: Mapping[str, Any]) -> Problem:
    key = result["unique_id"]
    node = manifest["nodes"].get(key) or manifest["unit_tests"].get(key) or {}
    compiled = node.get("compiled_path")
    path = work / compiled if compiled else None  # dbt runs in the work folder, and says paths from there
    return Problem(
        node=node.get("name", key),
        status="failed" if result["status"] == "fail" else "stopped",
        message=_without_values(result.get("message") or "no message"),
        compiled=str(path.relative_to(work.parents[2])) if path and path.exists() else None,
    )


def _without_values(message: str) -> str:
    """What DuckDB says, in one line, without what it quotes: that may be a value of the data."""
    return " ".join(re.sub(r"'[^']*'|\"[^\"]*\"", "…", message).split())
