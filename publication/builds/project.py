"""The dbt project as publication sees it: which marts it declares, and which version of each this is.

The list of marts comes from dbt's manifest, compiled once per state of the project's files and kept in the work folder,
and so does the lineage of every column. A project with a mart that shows anything personal bare is refused here:
nothing of it is ever built.
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
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import infra.build_spec
import infra.lineage.classification
import infra.lineage.graph
from infra.build_spec import CityReference
from infra.errors import ExpectedError
from infra.settings import Settings
from privacy.plan import PROJECT_FILE, Plan
from privacy.plan import load as load_plan
from publication import column_lineage
from publication.builds.candidates import Column, Mart
from publication.column_lineage import Leak, Lineage

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
_GENERATED = {"target", "logs", "dbt_packages", "dbt_internal_packages", "__pycache__"}
_LINEAGE = "lineage.json"
_MARTS = TypeAdapter(tuple[Mart, ...])
_SAID = 10  # sentences of an error: one is enough to act on, hundreds hide the rest


class ProjectError(ExpectedError, RuntimeError):
    """The dbt project cannot be used: dbt cannot read it (the message is dbt's), or its marts would leak."""


@dataclass(frozen=True)
class Project:
    """The project as its files are: its marts by name, and ``folder``: dbt's own parse of it, to start builds from.

    ``files`` is a digest of all that a build reads of it, to tell builds apart. What decides a mart's content is its
    own ``Mart.version``, which no description and no name of a file is part of.
    """

    files: str
    marts: Mapping[str, Mart]
    folder: Path

    def lineage(self) -> Lineage:
        """What every column of every table of the project is made from."""
        return Lineage.model_validate_json((self.folder / _LINEAGE).read_bytes())


def _digest(city: CityReference, project: Path) -> str:
    """A digest of the dbt project's files, of its plugin, and of the city."""
    digest = hashlib.sha256()
    for path in _sources(project):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    digest.update(city.model_dump_json().encode())
    return digest.hexdigest()


def _sources(project: Path) -> Iterator[Path]:
    yield from (Path(infra.build_spec.__file__), Path(__file__).with_name("dbt_plugin.py"))
    for path in sorted(project.rglob("*")):
        if path.is_file() and not _GENERATED.intersection(path.relative_to(project).parts) and path.name[0] != ".":
            yield path


def load(settings: Settings, city: CityReference, project: Path = PROJECT) -> Project:
    """The marts that the project declares. Takes seconds for files that were never compiled, otherwise none.

    Raises:
        ProjectError: dbt cannot read the project, its lineage cannot be followed, or a mart would show something
            personal without an approved aggregation; the message names marts, columns and paths.
    """
    files = _digest(city, project)
    folder = settings.work_dir / "dbt" / f"{files[:16]}-{_rule()[:8]}"
    listing = folder / "marts.json"
    if not listing.exists():
        _compile(folder, project, city)
    marts = _MARTS.validate_json(listing.read_bytes())
    return Project(files, {mart.name: mart for mart in marts}, folder)


@cache
def _rule() -> str:
    """A digest of the code that judges a project: a project that older code let pass is judged again."""
    digest = hashlib.sha256()
    judging = (__file__, infra.lineage.classification.__file__, infra.lineage.graph.__file__)
    for path in (*map(Path, judging), *sorted(Path(column_lineage.__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _compile(folder: Path, project: Path, city: CityReference) -> None:
    """Let dbt compile the project into ``folder``, which appears only once complete and judged. Needs no data."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        done = subprocess.run(
            dbt_command(
                *("compile", project, draft, "--select", "resource_type:model"),
                *("--no-introspect", "--no-populate-cache"),  # nor a connection
            ),
            capture_output=True,
            text=True,
            check=False,
            cwd=draft,
        )
        if done.returncode != 0:
            raise ProjectError(f"dbt cannot parse {project.name}: {done.stdout.strip()[-2000:]}")
        manifest = json.loads((draft / "manifest.json").read_text())
        (draft / _LINEAGE).write_text(_judged(manifest).model_dump_json())
        marts = tuple(_marts(manifest, load_plan(project / PROJECT_FILE.name), city))
        (draft / "marts.json").write_bytes(_MARTS.dump_json(marts))
        for other in folder.parent.iterdir():  # of other files, and drafts of killed processes
            if other not in {draft, folder}:
                shutil.rmtree(other, ignore_errors=True)
        draft.rename(folder)
    except OSError:
        if not (folder / "marts.json").exists():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _judged(manifest: Mapping[str, Any]) -> Lineage:
    """The lineage of a compiled project, when no mart of it leaks."""
    from publication.column_lineage import following  # noqa: PLC0415 (slow to import, and hardly ever needed)

    try:
        followed = following.of(manifest)
    except following.LineageError as error:
        raise ProjectError(_refusal(error.problems, "its columns cannot be followed back to their sources")) from error
    worst: dict[tuple[str, str], Leak] = {}
    for leak in column_lineage.check(followed):
        worst.setdefault((leak.mart, leak.column), leak)
    if worst:
        raise ProjectError(_refusal([leak.sentence() for leak in worst.values()], "it would publish personal data"))
    return followed


def _refusal(sentences: Sequence[str], why: str) -> str:
    more = f" And {len(sentences) - _SAID} more." if len(sentences) > _SAID else ""
    return f"the dbt project is refused: {why} (docs/decisions/0013). {' '.join(sentences[:_SAID])}{more}"


def dbt_command(verb: str, project: Path, target: Path, *options: str, development: bool = False) -> list[str]:
    """The command of a dbt process that dies with this one and writes nowhere but to ``target``.

    ``development``: with the tests for those who change models, which a lake's builds do without.
    """
    return [
        *(sys.executable, "-m", "publication.builds.dbt_process", *verb.split()),
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(target), "--log-path", str(target), "--log-level-file", "none"),
        *("--vars", json.dumps({"development": development}), "--no-use-colors", "--no-version-check", *options),
    ]


def _marts(manifest: Mapping[str, Any], plan: Plan, city: CityReference) -> Iterator[Mart]:
    """The models that the privacy plan knows, in the order of their names."""
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    for model in sorted(models, key=lambda node: node["name"]):
        if model["name"] in plan.marts:
            yield Mart(
                name=model["name"],
                silo=plan.marts[model["name"]].silo,
                grain=plan.grain_of(model["name"]),
                description=_sentence(model["description"]),
                columns=tuple(_columns(model["columns"].values())),
                relation=f'"{model["schema"]}"."{model["alias"]}"',
                fitted_to=tuple((model["config"].get("meta") or {}).get("fitted_to", ())),
                version=_version(manifest, model["unique_id"], city),
            )


def _version(manifest: Mapping[str, Any], model: str, city: CityReference) -> str:
    """A digest of all that decides a mart's content beside its data, and of nothing else.

    Its compiled SQL, in which macros and the privacy plan are written out, and that of every model it comes from; the
    content of seeds; the city.
    """
    content = {}
    for key in lineage_of(model, manifest["parent_map"]):
        node = manifest["nodes"].get(key)
        if node is not None:  # a source has no content of its own
            content[key] = node["checksum"]["checksum"] if node["resource_type"] == "seed" else node["compiled_code"]
    everything = {"content": content, "city": city.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def lineage_of(model: str, parents: Mapping[str, Sequence[str]]) -> set[str]:
    """The node ``model`` and every node it comes from."""
    found: set[str] = set()
    waiting = [model]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += parents.get(node, ())
    return found


def _columns(columns: Sequence[Mapping[str, Any]]) -> Iterator[Column]:
    for column in columns:
        yield Column(
            name=column["name"], type=column["data_type"].lower(), description=_sentence(column["description"])
        )


def _sentence(text: str) -> str:
    return " ".join(text.split())
