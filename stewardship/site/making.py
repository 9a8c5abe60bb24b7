"""The whole way: gather, build every edition, publish. What the DAG, the command line and ``make docs`` call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from infra.endpoints import NotRunning
from infra.machines.airflow.api import AirflowError
from infra.settings import Settings
from stewardship import run_history
from stewardship.site import dbt_page, declared, living
from stewardship.site.build import EDITIONS, Built, build
from stewardship.site.facts import Facts
from stewardship.site.publish import Published, publish


def make(settings: Settings, folder: Path, *, report: Callable[[str], None] = lambda _: None) -> list[Built]:
    """Build every edition below ``folder``: with what a running lake knows, or without when none runs."""
    facts = declared.gather(settings)
    try:
        facts = _alive(facts, settings, report)
    except NotRunning:
        report("no lake is running: the site has no deliveries, releases or figures")
    dbt = dbt_page.page(settings)
    built = []
    for edition in EDITIONS:
        built.append(build(facts, folder / edition, edition=edition, dbt=dbt))
        report(f"{edition}: {built[-1].pages} pages")
    _tell_missing(built, report)
    return built


def make_and_publish(settings: Settings, *, report: Callable[[str], None] = lambda _: None) -> list[Published]:
    """Build every edition of a running lake and publish it. A text without a translation is told and stays English.

    Raises:
        NotRunning: the lake is not up.
    """
    facts = _alive(declared.gather(settings), settings, report)
    marts = facts.living.marts if facts.living else {}
    releases = {mart: state.releases[0].version for mart, state in marts.items() if state.releases}
    dbt = dbt_page.page(settings)
    with tempfile.TemporaryDirectory(prefix="calanque-site-") as scratch:
        folders = {edition: Path(scratch) / edition for edition in EDITIONS}
        built = [build(facts, target, edition=edition, dbt=dbt) for edition, target in folders.items()]
        _tell_missing(built, report)
        return publish(settings, folders, releases)


def _alive(facts: Facts, settings: Settings, report: Callable[[str], None]) -> Facts:
    """``facts`` with the state of the running lake; without the newest runs where Airflow cannot be asked."""
    try:
        run_history.catch_up(settings)
    except AirflowError as error:
        report(f"the newest runs are not shown: {error}")
    return living.add(facts, settings)


def _tell_missing(built: Iterable[Built], report: Callable[[str], None]) -> None:
    for language, text in sorted({(language, text) for one in built for language, _, text in one.missing}):
        report(f"not translated ({language}): {text}")
