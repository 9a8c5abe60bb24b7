"""The rules of dbt-project-evaluator (dbt Labs), asked of the manifest; each exception has its reason beside it.

The package itself is built as models in the project's own database, which here is private to a build: so its rules are
kept, without it. Documentation and tests of keys are in ``test_project``.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

MOST_CHILDREN = 3
MOST_JOINS = 7
MOST_CHAINED_VIEWS = 4
PREFIXES = {"staging": "stg_", "intermediate": "int_"}

Project = dict[str, Any]


def models(project: Project) -> dict[str, Any]:
    return {key: node for key, node in project["nodes"].items() if node["resource_type"] == "model"}


def layer(node: Any) -> str:
    return str(node["fqn"][1])


def children(project: Project) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for key, node in models(project).items():
        for parent in node["depends_on"]["nodes"]:
            found[parent].add(key)
    return found


def sources_of(node: Any) -> list[str]:
    return [parent for parent in node["depends_on"]["nodes"] if parent.startswith("source.")]


def direct_join_to_source(project: Project) -> Iterable[str]:
    return (node["name"] for node in models(project).values() if sources_of(node) and layer(node) != "staging")


def multiple_sources_joined(project: Project) -> Iterable[str]:
    return (node["name"] for node in models(project).values() if len(sources_of(node)) > 1)


def source_fanout(project: Project) -> Iterable[str]:
    return (key for key, found in children(project).items() if key.startswith("source.") and len(found) > 1)


def unused_sources(project: Project) -> Iterable[str]:
    return project["sources"].keys() - children(project).keys()


def duplicate_sources(project: Project) -> Iterable[str]:
    seen: dict[str, int] = defaultdict(int)
    for node in project["sources"].values():
        seen[node["relation_name"]] += 1
    return (name for name, count in seen.items() if count > 1)


def root_models(project: Project) -> Iterable[str]:
    return (node["name"] for node in models(project).values() if not node["depends_on"]["nodes"])


def hard_coded_references(project: Project) -> Iterable[str]:
    for node in models(project).values():
        words = node["raw_code"].lower().split()
        if any(word in {"from", "join"} and "." in table for word, table in itertools.pairwise(words)):
            yield node["name"]


def staging_on_staging(project: Project) -> Iterable[str]:
    for node in models(project).values():
        parents = [models(project)[parent] for parent in node["depends_on"]["nodes"] if parent in models(project)]
        if layer(node) == "staging" and parents:
            yield node["name"]


def marts_on_sources_or_staging_alone(project: Project) -> Iterable[str]:
    for node in models(project).values():
        parents = [models(project)[parent] for parent in node["depends_on"]["nodes"] if parent in models(project)]
        if layer(node) == "marts" and not any(layer(parent) == "intermediate" for parent in parents):
            yield node["name"]


def model_fanout(project: Project) -> Iterable[str]:
    found = children(project)
    for key, node in models(project).items():
        leaves = [child for child in found[key] if not found[child]]
        if len(leaves) > MOST_CHILDREN:
            yield node["name"]


def too_many_joins(project: Project) -> Iterable[str]:
    return (node["name"] for node in models(project).values() if len(node["depends_on"]["nodes"]) > MOST_JOINS)


def chained_views(project: Project) -> Iterable[str]:
    found = models(project)

    def depth(key: str) -> int:
        if key not in found or found[key]["config"]["materialized"] != "view":
            return 0
        return 1 + max((depth(parent) for parent in found[key]["depends_on"]["nodes"]), default=0)

    return (node["name"] for key, node in found.items() if depth(key) > MOST_CHAINED_VIEWS)


def names(project: Project) -> Iterable[str]:
    for node in models(project).values():
        if not node["name"].startswith(PREFIXES.get(layer(node), "")):
            yield node["name"]


def folders(project: Project) -> Iterable[str]:
    """Every model lies in the folder of its layer and of its subject, with the yml that describes it beside it."""
    for node in models(project).values():
        folder = node["original_file_path"].rpartition("/")[0]
        described = (node["patch_path"] or "").partition("://")[2].rpartition("/")[0]
        if len(node["fqn"]) != 4 or folder != described:
            yield node["name"]


def public_models_without_contract(project: Project) -> Iterable[str]:
    for node in models(project).values():
        if node["access"] == "public" and not node["config"]["contract"]["enforced"]:
            yield node["name"]


def exposures_on_what_is_not_public(project: Project) -> Iterator[str]:
    found = models(project)
    for exposure in project["exposures"].values():
        for key in exposure["depends_on"]["nodes"]:
            if found[key]["access"] != "public" or found[key]["config"]["materialized"] == "view":
                yield exposure["name"]


SETTINGS = "one row of the build, which every model that needs a setting reads"
REGISTER = "a register of the city: the plugin makes reference.places or zones of it; declared for its lineage"
AXES = "a public grid of four axes is made of the tables of all of them"
RULES: tuple[tuple[Callable[[Project], Iterable[str]], dict[str, str]], ...] = (
    (direct_join_to_source, {}),
    (multiple_sources_joined, {"stg_telecom_footfall__telecom_footfall": SETTINGS}),
    (source_fanout, {"source.calanque.reference.settings": SETTINGS}),
    (
        unused_sources,
        {
            "source.calanque.crowd_flows.crowd_places": REGISTER,
            "source.calanque.telecom_footfall.telecom_zones": REGISTER,
        },
    ),
    (duplicate_sources, {}),
    (root_models, {}),
    (hard_coded_references, {}),
    (staging_on_staging, {}),
    (marts_on_sources_or_staging_alone, {}),
    (
        model_fanout,
        {
            "int_tows_totals": "four marts of a quarter are fitted to the same totals",
            "stg_reference__hours": "an axis of several marts",
        },
    ),
    (too_many_joins, {"int_footfall_by_month_measured": AXES, "int_footfall_profile_measured": AXES}),
    (chained_views, {}),
    (names, {}),
    (folders, {}),
    (public_models_without_contract, {}),
    (exposures_on_what_is_not_public, {}),
)


@pytest.mark.parametrize(("rule", "exceptions"), RULES, ids=[rule.__name__ for rule, _ in RULES])
def test_a_rule_is_kept_but_for_its_exceptions(
    rule: Callable[[Project], Iterable[str]], exceptions: dict[str, str], manifest: Project
) -> None:
    assert set(rule(manifest)) == set(exceptions)
