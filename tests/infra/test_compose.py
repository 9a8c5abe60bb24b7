"""The container set-up keeps the house rules: pinned images, loopback, secrets from files."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from infra.cli import app
from infra.provisioning import generate_credentials
from infra.services import airflow_access
from infra.settings import Settings

INFRA = Path(__file__).parents[2] / "infra"
COMPOSE = INFRA / "compose.yaml"


class _Loader(yaml.SafeLoader):
    """YAML with the tag by which one compose file takes away what another says."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.search(r"\d", tag), f"{name}: {service['image']} is not pinned"


def test_published_ports_are_on_loopback(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_every_secret_is_a_file_and_every_one_used_is_declared(compose: dict[str, Any]) -> None:
    declared = compose["secrets"]
    assert all(set(secret) == {"file"} for secret in declared.values())
    used = {name for service in compose["services"].values() for name in service.get("secrets", [])}
    assert used == set(declared)


def test_no_variable_holds_a_secret(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET_KEY|FERNET|JWT_SECRET|SQL_ALCHEMY", name):
                assert name.endswith(("_FILE", "_CMD")), name
                assert "/run/secrets/" in value, name


def test_long_running_services_have_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert "healthcheck" in service or service.get("restart") == "no", name


def test_containers_get_every_secret_that_the_lake_has(compose: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    generate_credentials(settings)
    made = {path.name for path in settings.secrets_dir.iterdir()}
    accounts = {f"{airflow_access.SECRET}{name}" for name in airflow_access.ACCOUNTS}
    assert made | accounts <= set(compose["secrets"])


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((INFRA / "compose.cluster.yaml").read_text(), Loader=_Loader)  # noqa: S506 - safe
    return loaded


def test_a_cluster_changes_services_that_there_are(compose: dict[str, Any], cluster: dict[str, Any]) -> None:
    assert set(cluster["services"]) - set(compose["services"]) == {"airflow-worker", "valkey"}
    tasks_run_on = {name for name in cluster["services"] if name.startswith("airflow-")} | {"provision"}
    for name in tasks_run_on:
        environment = cluster["services"][name]["environment"]
        assert environment["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
        assert environment["CALANQUE_KEYS"].startswith("/srv/shared/")
        assert environment["CALANQUE_DROP"].startswith("/srv/shared/")
    assert re.search(r":\d", cluster["services"]["valkey"]["image"])
    assert "ports" not in cluster["services"]["valkey"]
    test_no_variable_holds_a_secret(cluster)
    for name in tasks_run_on:
        for variable, value in cluster["services"][name]["environment"].items():
            if variable.startswith("AIRFLOW__CELERY__") and "://" in value:
                assert variable.endswith("_CMD"), variable


UNITS = sorted((INFRA / "systemd").glob("calanque*"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in UNITS:  # the program is where the city installs it, not here
        (tmp_path / unit.name).write_text(unit.read_text().replace("/opt/calanque/.venv/bin/calanque", "/bin/true"))
    answer = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr.strip()) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_run_commands_that_exist(unit: Path) -> None:
    command = typer.main.get_command(app)
    for words in re.findall(r"^Exec\w+=/opt/calanque/\.venv/bin/calanque (.*)$", unit.read_text(), re.MULTILINE):
        name, *rest = words.split()
        known = getattr(command, "commands", {})[name]
        options = {option for parameter in known.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options
    assert "User=root" not in unit.read_text()
