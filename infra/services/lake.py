"""Starting, stopping and describing a lake: which services it has, in which order, and that only one hand is on it."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from infra import endpoints
from infra.endpoints import Endpoints
from infra.services import accounts, minio, postgres, processes, remedies, seaweedfs
from infra.services import airflow as airflow_service
from infra.services import metrics as metrics_service
from infra.services.model import NotReady, Service, ServiceError
from infra.services.places import socket_dir
from infra.services.ports import LOOPBACK, choose, load
from infra.services.supervision import FAILED, RUNNING, ProcessState, Supervisor
from infra.settings import Settings

Report = Callable[[str], None]
BROKER = "valkey"
"""The secret of the broker that a cluster's workers are fed through (infra/compose.cluster.yaml)."""

_POLL_SECONDS = 0.1
_UPPER = frozenset({*airflow_service.NAMES, metrics_service.NAME})
_STOP_SECONDS = 75  # longer than any service is given before it is killed


@dataclass(frozen=True)
class ServiceStatus:
    """One line of ``calanque status``."""

    name: str
    state: str  # up, starting, failing, down; off for Airflow in a lake started without it
    pid: int | None
    detail: str
    ports: tuple[int, ...]
    log: str


def port_names(settings: Settings) -> tuple[str, ...]:
    """The names of the ports that this lake needs."""
    names: list[str] = []
    if settings.object_store == "seaweedfs":
        names += seaweedfs.PORTS
    if settings.object_store == "minio":
        names += minio.PORTS
    if settings.postgres == "embedded":
        names += postgres.PORTS
    return (*names, *airflow_service.PORTS, *metrics_service.PORTS)


def foundation(settings: Settings) -> tuple[Service, ...]:
    """The store and the database of this lake, those that are its own, on the ports chosen for it."""
    ports = load(settings)
    found: list[Service] = []
    if settings.object_store == "seaweedfs":
        found.append(seaweedfs.service(settings, ports))
    if settings.object_store == "minio":
        found.append(minio.service(settings, ports))
    if settings.postgres == "embedded":
        found.append(postgres.service(settings, ports))
    return tuple(found)


def services(settings: Settings) -> tuple[Service, ...]:
    """Every service of this lake, in the order in which they start."""
    return (*foundation(settings), *_upper(settings))


def _upper(settings: Settings) -> tuple[Service, ...]:
    """What a lake started without Airflow does without: Airflow, and the exporter, which watches a lake that runs."""
    airflow, ports = airflow_service.services(settings, _endpoints(settings)), load(settings)
    if not _has_ports(settings):  # started by a version that had no exporter, and running still
        return airflow
    return (*airflow, metrics_service.service(settings, ports))


def _has_ports(settings: Settings) -> bool:
    """Whether every port was chosen that this version needs."""
    return load(settings).keys() >= set(port_names(settings))


@contextmanager
def exclusive(settings: Settings, report: Report) -> Iterator[None]:
    """Hold the lake's lock: two commands that start or stop the same lake wait for each other."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(settings.run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another command is starting or stopping this lake: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def up(settings: Settings, *, airflow: bool = True, report: Report = lambda _: None) -> Endpoints:
    """Start what is not running yet, in order, and wait until it works. Running it again changes nothing.

    Raises:
        ServiceError: a service did not come up; the message has its last log lines and a remedy.
    """
    with exclusive(settings, report):
        supervisor = Supervisor(settings)
        if supervisor.is_alive() and (not _has_ports(settings) or _configure(settings, supervisor)):
            report("the configuration has changed: restarting")
            _stop(settings, supervisor)
        if not supervisor.is_alive():
            if processes.stop_left_over(settings):
                report("stopped processes left by a lake that was killed")
            choose(settings, port_names(settings), seaweedfs.COMPANIONS)
            _configure(settings, supervisor)
            supervisor.start()
        base = foundation(settings)
        if _start(supervisor, base, report) or not base:
            endpoints.save(settings, _endpoints(settings, airflow=False))
            _provision(settings, report)
        if airflow:
            _start_airflow(settings, supervisor, report)
            endpoints.save(settings, _endpoints(settings))
    return endpoints.load(settings)


def _start_airflow(settings: Settings, supervisor: Supervisor, report: Report) -> None:
    if not airflow_service.schema_is_current(settings):
        began = time.monotonic()
        airflow_service.set_up(settings)
        report(f"Airflow's metadata and login are in place ({time.monotonic() - began:.1f} s)")
    _start(supervisor, _upper(settings), report)


def generate_secrets(settings: Settings) -> None:
    """Create every secret that a lake of these settings needs and does not have yet. Starts nothing, needs nothing.

    Raises:
        infra.secrets.SecretMissing: the credentials of an external service were not given.
    """
    from infra.provisioning import generate_credentials

    generate_credentials(settings)
    airflow_service.generate_secrets(settings)
    metrics_service.generate_secrets(settings)


def _configure(settings: Settings, supervisor: Supervisor) -> bool:
    """Write every configuration file; whether any of them changed."""
    generate_secrets(settings)
    # Others may pass through, not look: PostgreSQL's account, under root, has to reach its own folder.
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    wanted = services(settings)
    changed = [service.configure() for service in wanted if service.configure is not None]
    return supervisor.configure(wanted) or any(changed)


def down(settings: Settings, *, report: Report = lambda _: None) -> bool:
    """Stop the lake and whatever is left of it; whether anything was running."""
    with exclusive(settings, report):
        supervisor = Supervisor(settings)
        was_up = supervisor.is_alive()
        _stop(settings, supervisor)
        left = processes.stop_left_over(settings)
        if left and not was_up:
            report("stopped processes left by a lake that was killed")
        if load(settings):
            for path in (path for service in foundation(settings) for path in service.leavings):
                path.unlink(missing_ok=True)
        shutil.rmtree(socket_dir(settings))
    return was_up or left > 0


def is_running(settings: Settings) -> bool:
    """Whether this lake's supervisor answers."""
    return Supervisor(settings).is_alive()


def status(settings: Settings) -> list[ServiceStatus]:
    """What each service of this lake does now."""
    supervisor = Supervisor(settings)
    states = supervisor.states()
    if not load(settings):
        return []
    found = [_status(supervisor, service, states.get(service.name)) for service in services(settings)]
    if states and endpoints.load(settings).airflow_url is None:
        found = [
            replace(one, state="off", detail="started without Airflow") if one.name in _UPPER else one for one in found
        ]
    return found


def shut_out(settings: Settings) -> list[tuple[Service, Path]]:
    """Services that run as an account to which something they need was closed after they started, and what that is."""
    states = Supervisor(settings).states()
    found = []
    for service in services(settings) if states else ():
        pid = states[service.name].pid if service.name in states else 0
        if service.account and pid and not accounts.passes_everywhere(pid):
            closed = accounts.closed_to(service.account, service.places())
            if closed is not None:
                found.append((service, closed))
    return found


def _status(supervisor: Supervisor, service: Service, known: ProcessState | None) -> ServiceStatus:
    state, detail = "down", "not started"
    if known is not None:
        detail = known.detail
        if known.state in {RUNNING, "STARTING"}:
            try:
                service.ready()
                state = "up"
            except NotReady as reason:
                state, detail = ("starting" if known.state == "STARTING" else "failing"), str(reason)
        elif known.state in {"BACKOFF", "FATAL"}:
            state = "failing"
    return ServiceStatus(
        name=service.name,
        state=state,
        pid=known.pid if known is not None and known.pid else None,
        detail=detail,
        ports=service.ports,
        log=str(supervisor.log_file(service.name)),
    )


def _start(supervisor: Supervisor, wanted: Sequence[Service], report: Report) -> bool:
    """Start services side by side and wait for all of them; whether any was not working before."""
    waiting = {service.name: service for service in wanted if not _works(supervisor, service)}
    began = time.monotonic()
    written = {name: supervisor.log_size(name) for name in waiting}
    for name in waiting:
        supervisor.launch(name)
    fresh = bool(waiting)
    while waiting:
        states = supervisor.states()
        for name, service in list(waiting.items()):
            seconds = time.monotonic() - began
            state = states.get(name)
            if state is None or state.state in FAILED:
                raise _failure(supervisor, service, state.detail if state else "the supervisor has gone", written[name])
            try:
                service.ready()
            except NotReady as reason:
                if seconds > service.start_seconds:
                    raise _failure(supervisor, service, str(reason), written[name]) from None
            else:
                del waiting[name]
                report(f"{name} is up ({seconds:.1f} s)")
        if waiting:
            time.sleep(_POLL_SECONDS)
    return fresh


def _works(supervisor: Supervisor, service: Service) -> bool:
    state = supervisor.states().get(service.name)
    if state is None or state.state != RUNNING:
        return False
    try:
        service.ready()
    except NotReady:
        return False
    return True


def _failure(supervisor: Supervisor, service: Service, reason: str, since: int) -> ServiceError:
    said = supervisor.tail(service.name, since)
    return ServiceError(
        f"{service.name} did not come up: {reason}.\n"
        f"The end of {supervisor.log_file(service.name)}:\n{said}\n"
        f"What to do: {remedies.of(f'{reason} {said}', service.remedy)}; then `calanque up` again."
    )


def _stop(settings: Settings, supervisor: Supervisor) -> None:
    """Stop the services in the reverse order of their start, then the supervisor, and forget where they were."""
    if supervisor.is_alive():
        running = {name for name, state in supervisor.states().items() if state.pid}
        # What stands on the others first: running tasks need the API server, and everything needs the foundation.
        airflow = running & _UPPER
        scheduler = airflow & {"airflow-scheduler"}
        for group in (scheduler, airflow - scheduler, running - airflow):
            supervisor.stop(group, seconds=_STOP_SECONDS)
        supervisor.shut_down(seconds=_STOP_SECONDS)
    endpoints.clear(settings)


def _endpoints(settings: Settings, *, airflow: bool = True) -> Endpoints:
    ports = load(settings)
    s3_url, host, port = settings.s3_endpoint, settings.postgres_host, settings.postgres_port
    if settings.object_store != "external":
        s3_url = f"http://{LOOPBACK}:{ports['s3']}"
    if settings.postgres == "embedded":
        host, port = LOOPBACK, ports["postgres"]
    if s3_url is None:
        raise ServiceError("CALANQUE_OBJECT_STORE is external: give its address in CALANQUE_S3_ENDPOINT")
    if host is None:
        raise ServiceError("CALANQUE_POSTGRES is external: give its host in CALANQUE_POSTGRES_HOST")
    airflow_url = f"http://{LOOPBACK}:{ports['airflow']}" if airflow else None
    return Endpoints(s3_url=s3_url, postgres_host=host, postgres_port=port, airflow_url=airflow_url)


def _provision(settings: Settings, report: Report) -> None:
    from infra import provisioning

    began = time.monotonic()
    provisioning.provision(settings)
    report(f"buckets, roles and tables are in place ({time.monotonic() - began:.1f} s)")
