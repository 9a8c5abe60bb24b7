"""The exporter of metrics, and beside it what a Prometheus server needs to find it: one file, ready to run."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import yaml

import infra
from infra import secrets
from infra.machines.services.model import NotReady, Service
from infra.machines.services.places import write_private
from infra.machines.services.ports import LOOPBACK
from infra.settings import Settings

NAME = "metrics"
PORTS = ("metrics",)
TOKEN = "metrics-token"  # noqa: S105 - the name of the secret

_SCRAPED_EVERY = "30s"
_SOUND = (
    *("scheduler", "executor", "pool", "dagrun", "dag_processing", "triggers", "triggerer", "asset"),
    *("ti_failures", "ti_successes"),
)


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The exporter of this lake."""
    port = ports[PORTS[0]]
    return Service(
        name=NAME,
        command=(sys.executable, "-m", "stewardship.metrics", str(port)),
        directory=settings.run_dir,
        configure=lambda: _configure(settings, port),
        ready=lambda: _answers(settings, port),
        remedy="see its log; nothing else of the lake depends on it",
        stop_seconds=5,
        start_seconds=300,  # a machine that is busy with other things, such as starting Airflow
        ports=(port,),
    )


def prometheus_file(settings: Settings) -> Path:
    """The configuration with which a Prometheus server watches this lake."""
    return settings.run_dir / "prometheus.yml"


def airflow_options(settings: Settings) -> dict[str, object]:
    """The section ``metrics`` of Airflow's configuration: it sends what it counts by OTLP, once an address is given.

    Left out is what each task's own process counts: it lives for seconds, so its counters never get anywhere.
    """
    if settings.otlp_endpoint is None:
        return {"otel_on": False}
    return {
        "otel_on": True,
        "metrics_allow_list": ",".join(_SOUND),
    }


def airflow_environment(settings: Settings, service: str) -> dict[str, str]:
    """Where Airflow sends its metrics to, and under which name each of its processes does."""
    if settings.otlp_endpoint is None:
        return {}
    return {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{settings.otlp_endpoint.rstrip('/')}/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
        "OTEL_METRIC_EXPORT_INTERVAL": "15000",
        "OTEL_SERVICE_NAME": service,
    }


def generate_secrets(settings: Settings) -> None:
    """Create the token that the exporter asks for, unless it is there."""
    secrets.read_or_generate(settings, TOKEN)


def _configure(settings: Settings, port: int) -> bool:
    generate_secrets(settings)
    rules = Path(infra.__file__).parent / "grafana" / "prometheus" / "*.rules.yml"
    configuration = {
        "global": {"scrape_interval": _SCRAPED_EVERY, "evaluation_interval": _SCRAPED_EVERY},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "calanque",
                "authorization": {"credentials_file": str(secrets.path(settings, TOKEN))},
                "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}],
            }
        ],
    }
    write_private(prometheus_file(settings), yaml.safe_dump(configuration, sort_keys=False))
    return False  # nothing that runs has to be restarted for it


def _answers(settings: Settings, port: int) -> None:
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/health", headers={"Authorization": f"Bearer {secrets.read(settings, TOKEN)}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own address
            return
    except (OSError, urllib.error.URLError) as failure:
        raise NotReady(f"the exporter does not answer on port {port} ({failure})") from None
