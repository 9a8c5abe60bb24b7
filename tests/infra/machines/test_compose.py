"""The container set-up keeps the house rules: pinned images, loopback, secrets from files."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from calanque.cli import app
from infra import contract_versions
from infra.endpoints import Endpoints
from infra.machines.airflow import servers as airflow
from infra.machines.services import lake, postgres
from infra.machines.stores import minio
from infra.settings import Settings
from publication.builds import project
from stewardship.site import pages

INFRA = Path(__file__).parents[3] / "infra"
COMPOSE = INFRA / "compose.yaml"
ROOT = INFRA.parent


class _Loader(yaml.SafeLoader):
    """YAML with the tag by which one compose file takes away what another says."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)  # type: ignore[no-untyped-call]
_Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node, deep=True))  # type: ignore[no-untyped-call]


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
            if re.search(r"PASSWORD|SECRET_KEY|FERNET|JWT_SECRET|SQL_ALCHEMY_CONN|BROKER_URL|RESULT_BACKEND", name):
                assert name.endswith(("_FILE", "_CMD")), name
                assert "/run/secrets/" in value, name


def test_long_running_services_have_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert "healthcheck" in service or service.get("restart") == "no", name


def _mounted(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {volume["target"]: volume for volume in service["volumes"] if isinstance(volume, dict)}


def test_containers_get_every_secret_and_only_one_makes_them(compose: dict[str, Any], cluster: dict[str, Any]) -> None:
    for name, service in (compose["services"] | cluster["services"]).items():
        if "AIRFLOW__CORE__EXECUTOR" in service.get("environment", {}):
            assert _mounted(service)["/run/secrets"]["read_only"] is True, name
    assert _mounted(compose["services"]["secrets"])["/run/secrets"]["read_only"] is False


def test_a_folder_that_is_not_there_is_not_made_by_the_engine(compose: dict[str, Any], cluster: dict[str, Any]) -> None:
    """It would be root's, and the lake could not write there."""
    for service in (*compose["services"].values(), *cluster["services"].values()):
        for volume in service.get("volumes", ()):
            if isinstance(volume, dict):
                assert volume["bind"] == {"create_host_path": False}
            else:
                assert not volume.startswith((".", "/", "$")), volume


def test_containers_run_with_no_right_that_they_do_not_need(compose: dict[str, Any], cluster: dict[str, Any]) -> None:
    begin_as_root = {"object-store", "postgres"}  # their images do, and the second goes on as postgres
    for name, service in (compose["services"] | {"valkey": cluster["services"]["valkey"]}).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == ("no" if name in {"secrets", "provision"} else "unless-stopped"), name
        assert ("user" in service) == (name not in begin_as_root), name
        assert ("cap_add" in service) == (name in begin_as_root), name


# What differs between a process of this machine and a container: addresses, folders, and where a secret comes from.
_ELSEWHERE = {
    "core": {"dags_folder", "plugins_folder", "execution_api_server_url", "fernet_key"},
    "database": {"sql_alchemy_conn", "sql_alchemy_conn_async"},
    "api": {"host", "port", "base_url", "secret_key"},
    "api_auth": {"jwt_secret", "jwt_issuer"},
    "logging": {"base_log_folder", "dag_processor_child_process_log_directory"},
    "metrics": {"otel_on"},
}


def test_airflow_in_containers_is_configured_like_the_embedded_one(compose: dict[str, Any], tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    lake.generate_secrets(settings)
    at = Endpoints(s3_url="http://s3", postgres_host="pg", postgres_port=1, airflow_url="http://127.0.0.1:2")
    configure = airflow.services(settings, at)[0].configure
    assert configure is not None
    configure()
    embedded = configparser.ConfigParser(interpolation=None)
    embedded.read(airflow.home(settings) / "airflow.cfg")
    environment = compose["services"]["airflow-scheduler"]["environment"]
    for section in embedded.sections():
        for option, value in embedded[section].items():
            if option not in _ELSEWHERE.get(section, ()):
                assert environment.get(f"AIRFLOW__{section}__{option}".upper()) == value, f"{section}.{option}"


def test_the_servers_in_containers_are_configured_like_the_embedded_ones(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, object_store="minio")
    lake.generate_secrets(settings)
    local = {"listen_addresses", "unix_socket_directories"}
    embedded = {word for word in postgres.service(settings, {"postgres": 1}).command if "=" in word}
    options = compose["services"]["postgres"]["command"][1:]
    assert {option.removeprefix("-c") for option in options} == {
        option for option in embedded if option.partition("=")[0] not in local
    }
    store = minio.environment(settings)
    given = compose["services"]["object-store"]["environment"]
    assert given == {name: value for name, value in store.items() if not name.startswith("MINIO_ROOT_")}


def test_commands_that_give_airflow_a_secret_give_nothing_else(
    compose: dict[str, Any], cluster: dict[str, Any], tmp_path: Path
) -> None:
    """Airflow takes what they print as it is: a line end would belong to the name of the database."""
    lake.generate_secrets(Settings(home=tmp_path, secrets=tmp_path))
    for path in (*tmp_path.iterdir(), tmp_path / lake.BROKER):
        path.write_text("a-secret")
    environment = {"CALANQUE_POSTGRES_HOST": "pg", "CALANQUE_POSTGRES_PORT": "1", "CALANQUE_BROKER": "broker:2"}
    found = set()
    for service in (compose["services"]["airflow-scheduler"], cluster["services"]["airflow-worker"]):
        for name, command in service["environment"].items():
            if name.endswith("_CMD"):
                here = command.replace("$$", "$").replace("/run/secrets", str(tmp_path))
                said = subprocess.run(
                    shlex.split(here), env=os.environ | environment, capture_output=True, text=True, check=True
                ).stdout
                assert "a-secret" in said, name
                assert not re.search(r"\s", said), f"{name} prints {said!r}"
                found.add(said)
    assert "postgresql+psycopg2://airflow:a-secret@pg:1/airflow" in found
    assert "db+postgresql+psycopg2://airflow:a-secret@pg:1/airflow" in found
    assert "redis://:a-secret@broker:2/0" in found


@pytest.mark.parametrize(
    ("secret", "says"), [("key:word", "key word"), ("key:word\n", "key word"), ("key:", None), ("", None), (None, None)]
)
def test_the_store_never_starts_with_the_password_that_everybody_knows(
    compose: dict[str, Any], tmp_path: Path, secret: str | None, says: str | None
) -> None:
    server = tmp_path / "silo"
    server.write_text('#!/bin/sh\necho "$MINIO_ROOT_USER $MINIO_ROOT_PASSWORD"\n')
    server.chmod(0o755)
    if secret is not None:
        (tmp_path / "s3-admin").write_text(secret)
    service = compose["services"]["object-store"]
    program = service["command"][0].replace("$$", "$").replace("/run/secrets", str(tmp_path))
    outcome = subprocess.run(
        [*service["entrypoint"], program],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (outcome.returncode == 0) == (says is not None)
    assert outcome.stdout.strip() == (says or "")


def test_the_image_has_what_is_read_at_run_time_and_nothing_of_var() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    read = {path.resolve().relative_to(ROOT).parts[0] for path in (contract_versions.FOLDER, pages.READING)}
    read |= {project.PROJECT.relative_to(ROOT).parts[0], "dags", "infra", "ingestion", "publication"}
    assert read <= let_in
    assert not {"var", ".venv", ".git", "tests"} & let_in


def _locked(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", path.read_text(), re.MULTILINE))


def test_the_image_has_the_versions_that_are_tested() -> None:
    tested, image = _locked(ROOT / "requirements.lock"), _locked(INFRA / "image.lock")
    assert {name for name in image.keys() & tested.keys() if image[name] != tested[name]} == set()
    assert "apache-airflow-providers-celery" in image
    base = re.search(r"^FROM (\S+)", (INFRA / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    assert f"-{image['apache-airflow']}-python3.11" in base[1]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((INFRA / "compose.cluster.yaml").read_text(), Loader=_Loader)  # noqa: S506 - safe
    return loaded


def test_a_cluster_changes_services_that_there_are(compose: dict[str, Any], cluster: dict[str, Any]) -> None:
    assert set(cluster["services"]) - set(compose["services"]) == {"airflow-worker", "valkey"}
    members = {name for name, service in compose["services"].items() if service["image"].startswith("calanque-")}
    assert members - {"secrets"} <= set(cluster["services"])
    for name in members - {"secrets"} | {"airflow-worker"}:
        service = cluster["services"][name]
        assert service["environment"]["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor", name
        assert service["environment"]["CALANQUE_KEYS"].startswith("/srv/shared/"), name
        assert service["environment"]["CALANQUE_DROP"].startswith("/srv/shared/"), name
        assert "CALANQUE_POSTGRES_HOST:?" in service["environment"]["CALANQUE_POSTGRES_HOST"], name
    assert re.search(r":\d", cluster["services"]["valkey"]["image"])
    assert "ports" not in cluster["services"]["valkey"]
    test_no_variable_holds_a_secret(cluster)


def test_the_broker_asks_for_the_password_and_does_not_show_it(cluster: dict[str, Any], tmp_path: Path) -> None:
    server = tmp_path / "valkey-server"
    server.write_text('#!/bin/sh\necho "$@"\necho --\ncat\n')
    server.chmod(0o755)
    (tmp_path / lake.BROKER).write_text("a-secret")
    words = [word.replace("$$", "$").replace("/run/secrets", str(tmp_path)) for word in _words(cluster)]
    said = subprocess.run(
        words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True
    ).stdout
    arguments, _, configuration = said.partition("--\n")
    assert "a-secret" not in arguments
    assert configuration.split() == ["requirepass", "a-secret"]


def _words(cluster: dict[str, Any]) -> list[str]:
    words: list[str] = cluster["services"]["valkey"]["command"]
    return words


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
