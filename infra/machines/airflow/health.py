"""``python -m infra.machines.airflow.health PART``: fails unless the API server says that PART of Airflow is healthy.

What containers are asked every half minute, so it imports nothing that takes time, where ``airflow jobs check`` starts
all of Airflow. The API server is found at CALANQUE_AIRFLOW_URL.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import Any


def report(url: str) -> dict[str, Any]:
    """What the API server at ``url`` says of Airflow's parts, by their names.

    Raises:
        OSError, ValueError: it does not answer, or not in a way that can be read.
    """
    with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=15) as answer:  # noqa: S310 - our own address
        return dict(json.load(answer))


def state(parts: dict[str, Any], part: str) -> str | None:
    """``healthy``, ``unhealthy``, or None for a part that was never there."""
    found: str | None = (parts.get(part) or {}).get("status")
    return found


if __name__ == "__main__":
    found = state(report(os.environ["CALANQUE_AIRFLOW_URL"]), sys.argv[1])
    if found != "healthy":
        sys.exit(f"{sys.argv[1]} is {found or 'not there yet'}")
