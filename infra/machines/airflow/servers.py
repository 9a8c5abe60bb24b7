"""Airflow: API server and UI, scheduler with its local workers, DAG processor, triggerer.

One listening port, the API server's, behind a generated login. The scheduler's and the triggerer's log servers, which
would listen on every interface, are switched off: on one machine the API server reads the log files itself.
"""

from __future__ import annotations

import base64
import hashlib
import inspect
import secrets as entropy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

import infra
from infra import database, secrets
from infra.endpoints import Endpoints
from infra.machines.airflow import access as airflow_access
from infra.machines.airflow import health as airflow_health
from infra.machines.airflow import setup as airflow_setup
from infra.machines.services import metrics, processes, remedies
from infra.machines.services.model import NotReady, Service, ServiceError
from infra.machines.services.places import write_private
from infra.machines.services.ports import LOOPBACK
from infra.settings import Settings

PORTS = ("airflow",)
USER = "admin"
PASSWORD = f"{airflow_access.SECRET}{USER}"
NAMES = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")

_PARALLEL_TASKS = 4
_HEALTH = {
    "airflow-scheduler": "scheduler",
    "airflow-dag-processor": "dag_processor",
    "airflow-triggerer": "triggerer",
}
_ARGUMENTS = {
    "airflow-api-server": ("api-server",),
    "airflow-scheduler": ("scheduler", "--skip-serve-logs"),
    "airflow-dag-processor": ("dag-processor",),
    "airflow-triggerer": ("triggerer", "--skip-serve-logs"),
}


def services(settings: Settings, at: Endpoints) -> tuple[Service, ...]:
    """The four processes of this lake's Airflow; the first one writes the configuration of all."""
    url = str(at.airflow_url)
    api_server = _service(
        settings,
        "airflow-api-server",
        ready=lambda: _api_answers(url),
        configure=lambda: _configure(settings, at),
        ports=(_port(url),),
        told_by=("postgres",),
    )
    others = (
        _service(settings, name, ready=partial(_is_healthy, url, part), told_by=NAMES[:1])
        for name, part in _HEALTH.items()
    )
    return (api_server, *others)


def _service(
    settings: Settings,
    name: str,
    *,
    ready: Callable[[], None],
    configure: Callable[[], bool] | None = None,
    told_by: tuple[str, ...],
    ports: tuple[int, ...] = (),
) -> Service:
    return Service(
        name=name,
        command=(str(Path(sys.executable).parent / "airflow"), *_ARGUMENTS[name]),
        directory=home(settings),
        environment=lambda: environment(settings) | metrics.airflow_environment(settings, name),
        configure=configure,
        ready=ready,
        remedy="if it names a DAG or a module, correct that; its metadata is in the database airflow",
        # The scheduler lets running tasks finish; the triggerer sleeps through ten seconds with nothing to wait for.
        stop_seconds=30 if name == "airflow-scheduler" else 5,
        start_seconds=300,  # a machine that is busy with other things
        ports=ports,
        told_by=told_by,
    )


def home(settings: Settings) -> Path:
    """AIRFLOW_HOME of this lake: generated files only."""
    return settings.run_dir / "airflow"


def environment(settings: Settings) -> dict[str, str]:
    """What every Airflow process needs beside its configuration file."""
    return {
        "AIRFLOW_HOME": str(home(settings)),
        "AIRFLOW_CONFIG": str(home(settings) / "airflow.cfg"),
        "SPT_NOENV": "1",  # process titles must not write over the environment, by which we find our processes
        "PYTHONUNBUFFERED": "1",
    }


def schema_is_current(settings: Settings) -> bool:
    """Whether :func:`set_up` has already prepared this metadata database, for this version and these logins."""
    try:
        with database.connect(settings, "airflow", "airflow") as connection:
            known = connection.execute("select obj_description('public.alembic_version'::regclass)").fetchone()
    except psycopg.Error:
        return False
    return known is not None and known[0] == _fingerprint(settings)


def set_up(settings: Settings) -> None:
    """Create or migrate the metadata tables, the pools, the roles and an account for each.

    Raises:
        ServiceError: Airflow refused; the message ends with what it said.
    """
    outcome = subprocess.run(
        (sys.executable, "-m", "infra.machines.airflow.setup", settings.secrets_dir),
        env={**processes.clean_environment(), **processes.marks(settings, "airflow-setup"), **environment(settings)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    write_private(settings.logs_dir / "airflow-setup.log", outcome.stdout)
    if outcome.returncode:
        said = "\n".join(outcome.stdout.splitlines()[-15:])
        remedy = remedies.of(said, "see logs/airflow-setup.log in the lake's folder")
        raise ServiceError(f"Airflow could not prepare its metadata database:\n{said}\nWhat to do: {remedy}.")
    with database.connect(settings, "airflow", "airflow") as connection:
        # Remembered in the database itself, so that it is true of whichever database is configured.
        connection.execute(
            sql.SQL("comment on table public.alembic_version is {}").format(sql.Literal(_fingerprint(settings)))
        )


def _fingerprint(settings: Settings) -> str:
    logins = [secrets.read(settings, f"{airflow_access.SECRET}{name}") for name in airflow_access.ACCOUNTS]
    ways_in = (logins, airflow_access.ACCOUNTS, airflow_access.APPROVALS, airflow_access.POOLS)
    digest = hashlib.sha256(repr(ways_in).encode() + inspect.getsource(airflow_setup).encode()).hexdigest()[:16]
    return f"{version('apache-airflow')} {version('apache-airflow-providers-fab')} {digest}"


def generate_secrets(settings: Settings) -> None:
    """Create the keys of Airflow and the passwords of its accounts, those that do not exist yet."""
    # A Fernet key is 32 bytes in this very encoding, padding included.
    secrets.write(settings, "airflow-fernet", base64.urlsafe_b64encode(entropy.token_bytes(32)).decode())
    secrets.read_or_generate(settings, "airflow-api", nbytes=48)
    secrets.read_or_generate(settings, "airflow-jwt", nbytes=64)
    for name in airflow_access.ACCOUNTS:
        secrets.read_or_generate(settings, f"{airflow_access.SECRET}{name}")


def _configure(settings: Settings, at: Endpoints) -> bool:
    generate_secrets(settings)
    url, logs = str(at.airflow_url), settings.logs_dir / "airflow"
    dags = Path(infra.__file__).parents[1] / "dags"
    metadata = (
        f"airflow:{quote(secrets.read(settings, 'pg-airflow'), safe='')}@{at.postgres_host}:{at.postgres_port}/airflow"
    )
    options: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags,
            "plugins_folder": Path(infra.__file__).parents[1] / "calanque" / "orchestration" / "plugins",
            "executor": "LocalExecutor",
            "parallelism": _PARALLEL_TASKS,
            "max_active_tasks_per_dag": _PARALLEL_TASKS,
            "load_examples": False,
            "dags_are_paused_at_creation": False,
            "auth_manager": "calanque.orchestration.login.PatientFabAuthManager",
            "fernet_key": secrets.read(settings, "airflow-fernet"),
            "execution_api_server_url": f"{url}/execution/",
            "hostname_callable": "socket.gethostname",
            "default_timezone": "utc",
        },
        "database": {
            "sql_alchemy_conn": f"postgresql+psycopg2://{metadata}",
            "sql_alchemy_conn_async": f"postgresql+asyncpg://{metadata}",
            "sql_alchemy_pool_size": 5,
            "load_default_connections": False,
        },
        "api": {
            "host": LOOPBACK,
            "port": _port(url),
            "base_url": url,
            "workers": 1,
            "secret_key": secrets.read(settings, "airflow-api"),
            "expose_config": False,
            "enable_swagger_ui": False,
            "instance_name": "Calanque",
        },
        "api_auth": {
            "jwt_secret": secrets.read(settings, "airflow-jwt"),
            "jwt_issuer": url,
        },
        "fab": {"update_fab_perms": False, "enable_proxy_fix": False},
        "logging": {
            "base_log_folder": logs,
            "dag_processor_child_process_log_directory": logs / "dag_processor",
            # Airflow sets these whatever the umask, and means them to be shared.
            "file_task_handler_new_folder_permissions": "0o700",
            "file_task_handler_new_file_permissions": "0o600",
        },
        "scheduler": {
            "enable_health_check": False,
            "scheduler_idle_sleep_time": 1,
            # What a killed scheduler was running is noticed by the next within a minute, not five.
            "orphaned_tasks_check_interval": 30,
        },
        "workers": {
            # A busy machine answers late; a task is not to fail for that.
            "execution_api_timeout": 60,
        },
        "dag_processor": {
            "refresh_interval": 30,
            "min_file_process_interval": 120,
            "parsing_processes": 1,
            "print_stats_interval": 600,
        },
        "triggerer": {"capacity": 50},
        "metrics": metrics.airflow_options(settings),
        "usage_data_collection": {"enabled": False},
    }
    home(settings).mkdir(mode=0o700, parents=True, exist_ok=True)
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {str(value).replace('%', '%%')}\n" for key, value in entries.items())
        for section, entries in options.items()
    )
    return write_private(home(settings) / "airflow.cfg", text)


def _port(url: str) -> int:
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"the address of the API server has no port: {url}")
    return port


def _health(url: str) -> dict[str, Any]:
    try:
        return airflow_health.report(url)
    except (OSError, ValueError) as failure:
        raise NotReady(f"the API server does not answer at {url} ({failure})") from None


def _api_answers(url: str) -> None:
    status = _health(url)["metadatabase"]["status"]
    if status != "healthy":
        raise NotReady(f"its metadata database is {status}")


def _is_healthy(url: str, part: str) -> None:
    status = airflow_health.state(_health(url), part)
    if status != "healthy":
        raise NotReady(f"the API server says that its {part} is {status or 'not there yet'}")
