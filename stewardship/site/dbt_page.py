"""dbt's own documentation of every transformation, as the one page that dbt makes; linked from the site, in English."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from infra.build_spec import BuildSpec, CityReference, Unit
from infra.city.profile import load_city
from infra.settings import Settings
from ingestion.register import REFERENCE_DAY
from privacy.plan import plan
from publication.builds import sources
from publication.builds.project import PROJECT, dbt_command
from stewardship.site.build import SiteError

_GENERATED = {"target", "logs"}


def page(settings: Settings) -> Path:
    """The page, made once for each version of the dbt project and kept in the work folder. Needs no lake.

    Raises:
        SiteError: dbt could not; the message is dbt's.
    """
    kept = settings.work_dir / "site" / f"dbt-{_version()}.html"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        for older in kept.parent.glob("dbt-*.html"):
            older.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix=".dbt-", dir=kept.parent) as scratch:
            _document(Path(scratch), settings).replace(kept)
    return kept


def _version() -> str:
    digest = hashlib.sha256()
    for path in sorted(PROJECT.rglob("*")):
        if path.is_file() and not _GENERATED.intersection(path.relative_to(PROJECT).parts):
            digest.update(f"{path.relative_to(PROJECT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def _document(folder: Path, settings: Settings) -> Path:
    # A copy, so that the page does not tell where this machine keeps the project.
    project = folder / "calanque"
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(*_GENERATED))
    # Every model is made once, of nothing: the catalog then knows the type of each column, and no figure.
    BuildSpec(
        build_id="documentation",
        tables=dict.fromkeys(sources.conformed()),
        units=(Unit(mart=min(plan().marts), first_day=REFERENCE_DAY, last_day=REFERENCE_DAY, edition=1),),
        coverage={},
        city=CityReference.of(load_city(settings)),
    ).save(folder / "spec.json")
    only_models = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
    for verb, *options in (("build", *only_models), ("docs generate", "--static")):
        done = subprocess.run(
            dbt_command(verb, project, folder, *options, development=True),
            env={
                **os.environ,
                "CALANQUE_BUILD_SPEC": str(folder / "spec.json"),
                "CALANQUE_KEYS": str(folder / "keys"),
                "CALANQUE_KEYS_BACKEND": "files",
            },
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        if done.returncode != 0:
            raise SiteError(f"dbt cannot document its project: {done.stdout.strip()[-2000:]}")
    made = folder / "static_index.html"
    text = made.read_text(encoding="utf-8")
    made.write_text(text.replace(str(folder.resolve()), "").replace(str(folder), ""), encoding="utf-8")
    return made
