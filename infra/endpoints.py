"""Where the running services listen: written by ``calanque up``, read by everything that connects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from infra.errors import ExpectedError
from infra.settings import Settings


class NotRunning(ExpectedError, ConnectionError):
    """The services of this lake are not up."""


class Endpoints(BaseModel):
    s3_url: str
    postgres_host: str
    postgres_port: int
    airflow_url: str | None = None


def _file(settings: Settings) -> Path:
    return settings.run_dir / "endpoints.json"


def save(settings: Settings, endpoints: Endpoints) -> None:
    """Replace the endpoints file in one step, so that a reader never sees half of it."""
    target = _file(settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(endpoints.model_dump_json(indent=2))
    draft.replace(target)


def load(settings: Settings) -> Endpoints:
    """The endpoints of this lake.

    External services given by configuration need no ``calanque up``, as long as both are external.

    Raises:
        NotRunning: the lake was never started, or was stopped; the message names the remedy.
    """
    try:
        return Endpoints.model_validate_json(_file(settings).read_text())
    except FileNotFoundError:
        external = settings.store == "external" and settings.postgres == "external"
        if external and settings.s3_endpoint and settings.postgres_host:
            return Endpoints(
                s3_url=settings.s3_endpoint,
                postgres_host=settings.postgres_host,
                postgres_port=settings.postgres_port,
                airflow_url=settings.airflow_url,
            )
        raise NotRunning(f"no lake is running in {settings.home}: start it with `calanque up`") from None


def beside_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to ``environment`` so that no client sends calls to this machine's own services to a proxy."""
    kept = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    exempt = ",".join(dict.fromkeys([*filter(None, kept.split(",")), "127.0.0.1", "localhost"]))
    return {"NO_PROXY": exempt, "no_proxy": exempt}


def clear(settings: Settings) -> None:
    _file(settings).unlink(missing_ok=True)
