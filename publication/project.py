"""The dbt project as publication sees it: which marts it declares, and which version of it this is.

The list of marts comes from dbt's manifest, parsed once per version of the project and kept in the work folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import infra.build_spec
from infra.build_spec import CityReference
from infra.settings import Settings
from publication.candidates import Column, Mart

PROJECT = Path(__file__).resolve().parents[1] / "dbt_project"
_GENERATED = {"target", "logs", "dbt_packages", "dbt_internal_packages", "__pycache__"}
# Beside the SQL, what decides the content of dbt's sources.
_PLUGIN = ("build_spec.py", "dbt_plugin.py")
_MARTS = TypeAdapter(tuple[Mart, ...])


class ProjectError(RuntimeError):
    """The dbt project cannot be read; the message is dbt's."""


@dataclass(frozen=True)
class Project:
    """One version of the project: its marts by name, and ``folder``: dbt's own parse of it, to start builds from."""

    version: str
    marts: Mapping[str, Mart]
    folder: Path


def code_version(city: CityReference, project: Path = PROJECT) -> str:
    """A digest of all that decides a mart's content beside its data: the dbt project, its plugin, the city."""
    digest = hashlib.sha256()
    for path in _sources(project):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    digest.update(city.model_dump_json().encode())
    return digest.hexdigest()


def _sources(project: Path) -> Iterator[Path]:
    plugin = Path(infra.build_spec.__file__).parent
    yield from (plugin / name for name in _PLUGIN)
    for path in sorted(project.rglob("*")):
        if path.is_file() and not _GENERATED.intersection(path.relative_to(project).parts) and path.name[0] != ".":
            yield path


def load(settings: Settings, version: str, project: Path = PROJECT) -> Project:
    """The marts that the project declares. Takes seconds for a version that was never parsed, otherwise none.

    Raises:
        ProjectError: dbt cannot parse the project.
    """
    folder = settings.work_dir / "dbt" / version[:16]
    listing = folder / "marts.json"
    if not listing.exists():
        _parse(folder, project)
    marts = _MARTS.validate_json(listing.read_bytes())
    return Project(version, {mart.name: mart for mart in marts}, folder)


def _parse(folder: Path, project: Path) -> None:
    """Let dbt parse the project into ``folder``, which appears only once complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        done = subprocess.run(
            dbt_command("parse", project, draft), capture_output=True, text=True, check=False, cwd=draft
        )
        if done.returncode != 0:
            raise ProjectError(f"dbt cannot parse {project.name}: {done.stdout.strip()[-2000:]}")
        marts = _MARTS.dump_json(tuple(_marts(json.loads((draft / "manifest.json").read_text()))))
        (draft / "marts.json").write_bytes(marts)
        for other in folder.parent.iterdir():  # other versions, and drafts of killed processes
            if other not in {draft, folder}:
                shutil.rmtree(other, ignore_errors=True)
        draft.rename(folder)
    except OSError:
        if not (folder / "marts.json").exists():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def dbt_command(verb: str, project: Path, target: Path, *options: str) -> list[str]:
    """The command of a dbt process that dies with this one and writes nowhere but to ``target``."""
    return [
        *(sys.executable, "-m", "publication.dbt_process", verb),
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(target), "--log-path", str(target), "--log-level-file", "none"),
        *("--no-use-colors", "--no-version-check", *options),
    ]


def _marts(manifest: Mapping[str, Any]) -> Iterator[Mart]:
    """The models that say which silo they publish, in the order of their names."""
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    for model in sorted(models, key=lambda node: node["name"]):
        meta = model["config"].get("meta") or {}
        if "silo" in meta:
            yield Mart(
                name=model["name"],
                silo=meta["silo"],
                grain=tuple(meta["grain"]),
                description=_sentence(model["description"]),
                columns=tuple(_columns(model["columns"].values())),
                relation=f'"{model["schema"]}"."{model["alias"]}"',
            )


def _columns(columns: Sequence[Mapping[str, Any]]) -> Iterator[Column]:
    for column in columns:
        yield Column(
            name=column["name"], type=column["data_type"].lower(), description=_sentence(column["description"])
        )


def _sentence(text: str) -> str:
    return " ".join(text.split())
