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
from infra.services.model import NotReady, Service
from infra.services.places import write_private
from infra.services.ports import LOOPBACK
from infra.settings import Settings

NAME = "metrics"
PORTS = ("metrics",)
TOKEN = "metrics-token"  # noqa: S105 - the name of the secret

_SCRAPED_EVERY = "30s"


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The exporter of this lake."""
    port = ports[PORTS[0]]
    return Service(
        name=NAME,
        command=(sys.executable, "-m", "infra.metrics", str(port)),
        directory=settings.run_dir,
        configure=lambda: _configure(settings, port),
        ready=lambda: _answers(settings, port),
        remedy="see its log; nothing else of the lake depends on it",
        stop_seconds=5,
        ports=(port,),
    )


def prometheus_file(settings: Settings) -> Path:
    """The configuration with which a Prometheus server watches this lake."""
    return settings.run_dir / "prometheus.yml"


def _configure(settings: Settings, port: int) -> bool:
    secrets.read_or_generate(settings, TOKEN)
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
