"""Starting, stopping and describing a lake: which services it has, in which order, and that only one hand is on it."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from infra import endpoints, kept_store
from infra.endpoints import Endpoints
from infra.locks import this_process
from infra.machines.airflow import servers as airflow_service
from infra.machines.services import access_log, accounts, postgres, processes, remedies
from infra.machines.services import metrics as metrics_service
from infra.machines.services.model import NotReady, Service, ServiceError
from infra.machines.services.places import close_to_others, socket_dir
from infra.machines.services.ports import LOOPBACK, choose, load
from infra.machines.services.supervision import FAILED, RUNNING, ProcessState, Supervisor
from infra.machines.stores import minio, seaweedfs
from infra.progress import Patience, Progress
from infra.secrets import SecretMissing
from infra.settings import PRIVATE, Settings

BROKER = "valkey"
"""The secret of the broker that a cluster's workers are fed through (infra/compose.cluster.yaml)."""

_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 10
_LOOK_SECONDS = 3
_LONGEST_START_SECONDS = 30 * 60  # a server that computes for so long, and does not answer, does not start
_LOCK_SECONDS = 30 * 60
_SILENT = Progress(quiet=True)
_UPPER = frozenset({*airflow_service.NAMES, metrics_service.NAME})
_STOP_SECONDS = 75  # longer than any service is given before it is killed


@dataclass(frozen=True)
class ServiceStatus:
    """One line of ``calanque status``."""

    name: str
    state: str  # up, starting, failing, down; unknown when what tells of it is not up; off for Airflow left out
    pid: int | None
    detail: str
    ports: tuple[int, ...]
    log: str


def port_names(settings: Settings) -> tuple[str, ...]:
    """The names of the ports that this lake needs."""
    names: list[str] = []
    if settings.store == "seaweedfs":
        names += seaweedfs.PORTS
    if settings.store == "minio":
        names += (*minio.PORTS, *access_log.PORTS)
    if settings.postgres == "embedded":
        names += postgres.PORTS
    return (*names, *airflow_service.PORTS, *metrics_service.PORTS)


def foundation(settings: Settings) -> tuple[Service, ...]:
    """The store and the database of this lake, those that are its own, and the log of their reads, on their ports."""
    ports = load(settings)
    found: list[Service] = []
    if settings.store != "external" or settings.postgres == "embedded":
        found.append(access_log.service(settings, ports))
    if settings.store == "seaweedfs":
        found.append(seaweedfs.service(settings, ports))
    if settings.store == "minio":
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
def exclusive(settings: Settings, report: Progress) -> Iterator[None]:
    """Hold the lake's lock, and make private files: two commands that start or stop the same lake wait for each other.

    Raises:
        ServiceError: the other one is not done within half an hour.
    """
    before = os.umask(PRIVATE)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(settings.run_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _is_free(descriptor):
            holder = os.pread(descriptor, 200, 0).decode() or "another command"
            report.wait(f"waiting for {holder}, which starts or stops this lake")
            deadline = time.monotonic() + _LOCK_SECONDS
            while not _is_free(descriptor):
                if time.monotonic() > deadline:
                    raise ServiceError(f"{holder} has been starting or stopping this lake for too long: end it first")
                time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, this_process().encode(), 0)
        yield
    finally:
        os.close(descriptor)
        os.umask(before)


def _is_free(descriptor: int) -> bool:
    """Take the lock unless another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def up(settings: Settings, *, airflow: bool = True, report: Progress = _SILENT) -> Endpoints:
    """Start what is not running yet, in order, and wait until it works. Running it again changes nothing.

    Raises:
        ServiceError: a service did not come up; the message has its last log lines and a remedy.
    """
    with exclusive(settings, report):
        close_to_others(settings)
        _keep_store(settings)
        supervisor = Supervisor(settings)
        if supervisor.is_alive() and (not _has_ports(settings) or _configure(settings, supervisor)):
            report.wait("the configuration has changed: stopping the lake to start it again")
            _stop(settings, supervisor)
        if not supervisor.is_alive():
            if processes.stop_left_over(settings):
                report.say("stopped processes left by a lake that was killed")
            choose(settings, port_names(settings), seaweedfs.COMPANIONS)
            _configure(settings, supervisor)
            supervisor.start()
        base = foundation(settings)
        if _start(settings, supervisor, base, report) or not base:
            endpoints.save(settings, _endpoints(settings, airflow=False))
        _provision(settings, report)  # each time: a role may change its own password and the limits it begins with
        if airflow:
            _start_airflow(settings, supervisor, report)
            endpoints.save(settings, _endpoints(settings))
    return endpoints.load(settings)


def _keep_store(settings: Settings) -> None:
    """Write down which store this lake has, the first time; afterwards refuse another one."""
    kept = kept_store.written(settings.home)
    if kept is None:
        kept_store.keep(settings.home, settings.store)
    elif kept != settings.store:
        raise ServiceError(
            f"the objects of this lake are in {kept}, and CALANQUE_OBJECT_STORE is {settings.store}: unset it. "
            "To change the store, `calanque backup` this lake and `calanque restore` into a new home with the other one"
        )


def _start_airflow(settings: Settings, supervisor: Supervisor, report: Progress) -> None:
    if not airflow_service.schema_is_current(settings):
        began = time.monotonic()
        report.wait("preparing Airflow's metadata and logins")
        airflow_service.set_up(settings)
        report.say(f"Airflow's metadata and login are in place ({time.monotonic() - began:.1f} s)")
    _start(settings, supervisor, _upper(settings), report)


def generate_secrets(settings: Settings) -> None:
    """Create every secret that a lake of these settings needs and does not have yet. Starts nothing, needs nothing.

    Raises:
        infra.secrets.SecretMissing: the credentials of an external service were not given.
    """
    from infra.machines.provisioning import generate_credentials

    generate_credentials(settings)
    airflow_service.generate_secrets(settings)
    metrics_service.generate_secrets(settings)
    access_log.generate_secrets(settings)


def _configure(settings: Settings, supervisor: Supervisor) -> bool:
    """Write every configuration file; whether any of them changed."""
    generate_secrets(settings)
    # Others may pass through, not look: PostgreSQL's account, under root, has to reach its own folder.
    settings.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    wanted = services(settings)
    changed = [service.configure() for service in wanted if service.configure is not None]
    return supervisor.configure(wanted) or any(changed)


def down(settings: Settings, *, report: Progress = _SILENT) -> bool:
    """Stop the lake and whatever is left of it; whether anything was running."""
    with exclusive(settings, report):
        supervisor = Supervisor(settings)
        was_up = supervisor.is_alive()
        _stop(settings, supervisor)
        left = processes.stop_left_over(settings)
        if left and not was_up:
            report.say("stopped processes left by a lake that was killed")
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
    wanted = services(settings)
    asked = [one for one in wanted if one.name in states and states[one.name].state in {RUNNING, "STARTING"}]
    answers = _ask(asked)
    found: list[ServiceStatus] = []
    for service in wanted:
        one = _status(supervisor, service, states.get(service.name), answers.get(service.name))
        silent = [each.name for each in found if each.name in service.told_by and each.state != "up"]
        if silent and one.state in {"starting", "failing"} and service.name in answers:
            one = replace(one, state="unknown", detail=f"{silent[0]}, which tells of it, is not up")
        found.append(one)
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


def _ask(wanted: Sequence[Service]) -> dict[str, NotReady | None]:
    """Ask services, all at once, whether they work: by name, None of one that does, else why not.

    One that does not answer within seconds holds up nobody: the thread that asks it is left behind.
    """
    answers: dict[str, NotReady | None] = {}

    def ask(service: Service) -> None:
        try:
            service.ready()
            answers[service.name] = None
        except NotReady as reason:
            answers[service.name] = reason
        except SecretMissing as missing:
            answers[service.name] = NotReady(str(missing))

    threads = [threading.Thread(target=ask, args=[service], daemon=True) for service in wanted]
    deadline = time.monotonic() + _ANSWER_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = NotReady(f"does not answer within {_ANSWER_SECONDS} s")
    return {service.name: late for service in wanted} | answers.copy()


def _status(
    supervisor: Supervisor, service: Service, known: ProcessState | None, reason: NotReady | None
) -> ServiceStatus:
    state, detail = "down", "not started"
    if known is not None:
        detail = known.detail
        if known.state in {RUNNING, "STARTING"}:
            if reason is None:
                state = "up"
            else:
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


def _start(settings: Settings, supervisor: Supervisor, wanted: Sequence[Service], report: Progress) -> bool:
    """Start services side by side and wait for all of them; whether any was not working before.

    One that writes to its log or computes is waited for, on however slow a machine.
    """
    answers = _ask([service for service in wanted if _runs(supervisor, service)])
    waiting = {service.name: service for service in wanted if answers.get(service.name, True) is not None}
    if not waiting:
        return False
    written = {name: supervisor.log_size(name) for name in waiting}
    patience = {name: Patience(service.start_seconds) for name, service in waiting.items()}
    began, look_at = time.monotonic(), 0.0
    for name in waiting:
        supervisor.launch(name)
    report.wait(f"starting {', '.join(waiting)}")
    while waiting:
        report.far(f"{len(patience) - len(waiting)} of {len(patience)} are up")
        states = supervisor.states()
        answers = _ask(list(waiting.values()))
        seconds = time.monotonic() - began
        if seconds >= look_at:
            look_at = seconds + _LOOK_SECONDS
            for name in waiting:
                # Two seconds of processor time are work; less is what a server does that only waits.
                patience[name].look((supervisor.log_size(name), processes.computed(settings, name) // 2))
        for name, service in list(waiting.items()):
            state, reason = states.get(name), answers[name]
            if state is None or state.state in FAILED:
                detail = state.detail if state else "the supervisor has gone"
                raise _failure(supervisor, service, detail, written[name])
            if reason is None:
                del waiting[name]
                report.say(f"{name} is up ({seconds:.1f} s)")
                continue
            if patience[name].over or seconds > _LONGEST_START_SECONDS:
                raise _failure(supervisor, service, str(reason), written[name])
        time.sleep(_POLL_SECONDS)
    return True


def _runs(supervisor: Supervisor, service: Service) -> bool:
    state = supervisor.states().get(service.name)
    return state is not None and state.state == RUNNING


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
    if settings.store != "external":
        s3_url = f"http://{LOOPBACK}:{ports['s3']}"
    if settings.postgres == "embedded":
        host, port = LOOPBACK, ports["postgres"]
    if s3_url is None:
        raise ServiceError("CALANQUE_OBJECT_STORE is external: give its address in CALANQUE_S3_ENDPOINT")
    if host is None:
        raise ServiceError("CALANQUE_POSTGRES is external: give its host in CALANQUE_POSTGRES_HOST")
    airflow_url = f"http://{LOOPBACK}:{ports['airflow']}" if airflow else None
    return Endpoints(s3_url=s3_url, postgres_host=host, postgres_port=port, airflow_url=airflow_url)


def _provision(settings: Settings, report: Progress) -> None:
    from infra.machines import provisioning

    began = time.monotonic()
    report.wait("making buckets, roles and tables")
    provisioning.provision(settings)
    report.say(f"buckets, roles and tables are in place ({time.monotonic() - began:.1f} s)")
