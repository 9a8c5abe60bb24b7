"""Every event is held to the classes of OpenLineage's own client: names, required parts, times and ids."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import attr
from openlineage.client import generated
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

_RUN_FACET = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"


def _classes() -> dict[str, type]:
    """The facets that the client knows, by the address of their schema."""
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(generated.__path__, f"{generated.__name__}."):
        for each in vars(importlib.import_module(module.name)).values():
            if isinstance(each, type) and attr.has(each) and hasattr(each, "_get_schema"):
                found[each._get_schema()] = each
    return found


CLASSES = _classes()


def check(event: dict[str, Any]) -> RunEvent:
    """The event as the client would have made it.

    Raises:
        Exception: it would not have.
    """
    assert event["schemaURL"] == RunEvent._get_schema()
    run, job = event["run"], event["job"]
    assert set(event) == {"eventType", "eventTime", "producer", "schemaURL", "run", "job", "inputs", "outputs"}
    return RunEvent(
        eventTime=event["eventTime"],
        eventType=RunState[event["eventType"]],
        producer=event["producer"],
        run=Run(run["runId"], _facets(run["facets"])),
        job=Job(job["namespace"], job["name"], _facets(job["facets"])),
        inputs=[
            InputDataset(
                each["namespace"],
                each["name"],
                facets=_facets(each["facets"]),
                inputFacets=_facets(each["inputFacets"]),
            )
            for each in event["inputs"]
        ],
        outputs=[
            OutputDataset(
                each["namespace"],
                each["name"],
                facets=_facets(each["facets"]),
                outputFacets=_facets(each["outputFacets"]),
            )
            for each in event["outputs"]
        ],
    )


def _facets(given: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: _facet(name, content) for name, content in given.items()}


def _facet(name: str, content: dict[str, Any]) -> Any:
    schema = content["_schemaURL"]
    told = {key: value for key, value in content.items() if not key.startswith("_")}
    if name.startswith("calanque_"):
        assert schema == _RUN_FACET
        return told
    return CLASSES[schema](**told)
