"""What ``calanque doctor`` looks at: each check is a function that yields findings, with a remedy for each failure."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import infra
from infra.settings import Settings
from infra.transient import explained

ROOT = Path(infra.__file__).parents[1]
_GIGABYTE = 1024**3
_LEAST_DISK, _ENOUGH_DISK = 1 * _GIGABYTE, 5 * _GIGABYTE
_LEAST_MEMORY, _ENOUGH_MEMORY = 1 * _GIGABYTE, 3 * _GIGABYTE
_SHOWN = 5
_CROWDED = 0.8  # of all connections
_CLOCK_SECONDS = 60  # S3 refuses a request that is 15 minutes off


_MOMENT_SECONDS = 1
_NAMED = "coalesce(nullif({0}.application_name, ''), {0}.usename::text)"
_WAITING = f"""
select {_NAMED.format("waiting")}, extract(epoch from clock_timestamp() - lock.waitstart)::float as seconds,
    string_agg(distinct {_NAMED.format("holding")}, ', ')
from pg_locks as lock
join pg_stat_activity as waiting using (pid)
join pg_stat_activity as holding on holding.pid = any(pg_blocking_pids(lock.pid))
where not lock.granted and lock.waitstart < clock_timestamp() - make_interval(secs => %s)
group by 1, 2
order by seconds desc
"""


@dataclass(frozen=True)
class Finding:
    """``ok`` needs nothing; ``warn`` may need attention one day; ``fail`` must be put right."""

    check: str
    verdict: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding about this lake and the machine under it, in a fixed order."""
    checks: tuple[Check, ...] = (
        versions,
        programs,
        folders,
        room,
        private_files,
        key_store,
        services,
        ports,
        readers,
        connections,
        stores,
        locks,
        tables,
        used_keys,
        waiting,
        clocks,
        people,
        dags,
    )
    for check in checks:
        try:
            yield from check(settings)
        except Exception as failure:  # a check that breaks is itself a finding
            name = check.__name__.replace("_", " ")
            reason = explained(failure) or str(failure)
            yield Finding(name, "fail", f"the check could not be made: {reason}", "see `calanque status` first")


def versions(_: Settings) -> Iterator[Finding]:
    """Python, and every installed package against requirements.lock."""
    from packaging.requirements import InvalidRequirement, Requirement

    if (3, 11) <= sys.version_info < (3, 14):
        yield Finding("python", "ok", platform.python_version())
    else:
        yield Finding("python", "fail", platform.python_version(), "use Python 3.11 to 3.13, then `make install`")
    lock = ROOT / "requirements.lock"
    wrong: list[str] = []
    locked = 0
    for line in lock.read_text().splitlines():
        try:
            requirement = Requirement(line.rstrip("\\ "))
        except InvalidRequirement:
            continue  # hashes and comments
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        locked += 1
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
        else:
            if installed not in requirement.specifier:
                wrong.append(f"{requirement.name} is {installed}, locked {requirement.specifier}")
    if wrong:
        yield Finding("packages", "fail", "; ".join(wrong[:5]) + (" ..." if len(wrong) > 5 else ""), "`make install`")
    else:
        yield Finding("packages", "ok", f"all {locked} as locked")


def programs(settings: Settings) -> Iterator[Finding]:
    """Programs that are not Python packages."""
    from infra.machines.services.model import ServiceError
    from infra.machines.stores import minio

    if settings.store == "minio":
        try:
            yield Finding("minio", "ok", str(minio.binary()))
        except ServiceError as missing:
            yield Finding("minio", "fail", str(missing), "`make minio`")
    if settings.postgres == "embedded" and os.getuid() == 0:
        if shutil.which("setpriv"):
            yield Finding("setpriv", "ok", "PostgreSQL can run without root's rights")
        else:
            yield Finding(
                "setpriv", "fail", "PostgreSQL refuses to run as root", "install util-linux, or do not run as root"
            )


def folders(settings: Settings) -> Iterator[Finding]:
    """Folders that are closed to whoever runs the lake, or to the account that one of its servers runs as."""
    from infra.machines.services import lake

    own = (settings.home, settings.data_dir, settings.drop_dir, settings.secrets_dir, settings.run_dir)
    ways = {folder for place in own for folder in place.parents} - set(own)
    needed = {**dict.fromkeys(sorted(ways), os.X_OK), **dict.fromkeys(own, os.R_OK | os.W_OK | os.X_OK)}
    there = (path for path in needed if os.access(path, os.F_OK))
    closed = next((path for path in there if not os.access(path, needed[path])), None)
    if closed is not None:
        problem = f"{closed} is closed to user {os.getuid()}, who runs this"
        yield Finding("folders", "fail", problem, f"open it again: `chmod u+rwx {closed}`, as its owner")
        return
    shut_out = lake.shut_out(settings)
    for service, path in shut_out:
        problem = f"{path} was closed to the account {service.account} while {service.name} runs as it"
        yield Finding("folders", "fail", problem, f"`chmod o+x {path}`, or `calanque down`, then `calanque up`")
    if not shut_out:
        yield Finding("folders", "ok", f"{settings.home} and what leads to it are open to whoever needs them")


def room(settings: Settings) -> Iterator[Finding]:
    """Disk space and memory."""
    import psutil

    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    if not os.access(place, os.W_OK):
        yield Finding("home", "fail", f"{place} cannot be written to", "choose another CALANQUE_HOME")
    free = shutil.disk_usage(place).free
    yield _enough(
        "disk",
        free,
        least=_LEAST_DISK,
        enough=_ENOUGH_DISK,
        what=f"free in {place}",
        remedy="free some, or move CALANQUE_HOME",
    )
    available = psutil.virtual_memory().available
    yield _enough(
        "memory",
        available,
        least=_LEAST_MEMORY,
        enough=_ENOUGH_MEMORY,
        what="available",
        remedy="stop other programs, or start with `calanque up --without-airflow`",
    )


def _enough(check: str, found: int, *, least: int, enough: int, what: str, remedy: str) -> Finding:
    detail = f"{found / _GIGABYTE:.1f} GB {what}"
    if found >= enough:
        return Finding(check, "ok", detail)
    return Finding(check, "fail" if found < least else "warn", detail, remedy)


def private_files(settings: Settings) -> Iterator[Finding]:
    """Modes and owner of the secrets."""
    folder = settings.secrets_dir
    if not folder.exists():
        yield Finding("secrets", "warn", f"{folder} does not exist yet", "`calanque up` generates the secrets")
        return
    open_ones = [path.name for path in (folder, *folder.iterdir()) if _open_to_others(path)]
    if open_ones:
        remedy = f"chmod 700 {folder} && chmod 600 {folder}/*"
        yield Finding("secrets", "fail", f"others may read {', '.join(sorted(open_ones))}", remedy)
    else:
        yield Finding("secrets", "ok", f"{folder}, readable by its owner only")


def key_store(settings: Settings) -> Iterator[Finding]:
    """Where the pseudonymisation keys are."""
    folder = settings.keys_dir
    if folder.is_relative_to(settings.data_dir) or folder.is_relative_to(settings.drop_dir):
        yield Finding("keys", "fail", f"{folder} is inside the lake", "set CALANQUE_KEYS to a folder outside it")
    elif not folder.exists():
        yield Finding("keys", "ok", f"{folder}, made with the first delivery")
    elif open_ones := [str(path.relative_to(folder)) for path in (folder, *folder.rglob("*")) if _open_to_others(path)]:
        yield Finding("keys", "fail", f"others may read {', '.join(open_ones[:5])}", f"chmod -R go-rwx {folder}")
    else:
        yield Finding("keys", "ok", f"{folder}, readable by its owner only")


def _open_to_others(path: Path) -> bool:
    found = path.stat()
    return bool(stat.S_IMODE(found.st_mode) & 0o077) or found.st_uid != os.getuid()


def services(settings: Settings) -> Iterator[Finding]:
    """Every service of the lake."""
    from infra.machines.services import lake

    found = lake.status(settings)
    if not any(service.state != "down" for service in found):
        yield Finding("services", "fail", f"no lake is running in {settings.home}", "`calanque up`")
        return
    for service in found:
        if service.state in {"up", "off"}:
            yield Finding(service.name, "ok", service.detail)
        else:
            remedy = "`calanque up`" if service.state == "down" else f"see {service.log}, then `calanque up`"
            yield Finding(service.name, "fail", f"{service.state}: {service.detail}", remedy)


def ports(settings: Settings) -> Iterator[Finding]:
    """Who listens on the lake's ports, and whether anything listens beyond loopback."""
    from infra.machines.services import lake, processes
    from infra.machines.services.ports import LOOPBACK, is_free, load

    chosen = load(settings)
    listening = processes.listening(settings)
    beyond = sorted({f"{host}:{port}" for host, port in listening if host not in {LOOPBACK, "::1"}})
    if beyond:
        yield Finding("ports", "fail", f"{', '.join(beyond)} can be reached from outside", "`calanque down`, report it")
    if not lake.is_running(settings):
        taken = {name: port for name, port in chosen.items() if not is_free(port)}
        if taken:
            names = ", ".join(f"{port} ({name})" for name, port in taken.items())
            yield Finding("ports", "warn", f"taken by another program: {names}", "`calanque up` chooses others")
        else:
            yield Finding("ports", "ok", f"{len(chosen)} chosen, all free")
    elif not beyond:
        yield Finding("ports", "ok", f"{len(listening)} open, on loopback only")


def stores(settings: Settings) -> Iterator[Finding]:
    """Buckets, catalog, registry and BI, each as a role that uses it."""
    from infra import catalog, database, endpoints, object_store

    try:
        endpoints.load(settings)
    except endpoints.NotRunning as reason:
        yield Finding("buckets", "fail", str(reason), "`calanque up`")
        return
    client = object_store.client(settings, object_store.ADMIN)
    missing = [bucket for bucket in object_store.BUCKETS if not client.bucket_exists(bucket)]
    if missing:
        yield Finding("buckets", "fail", f"{', '.join(missing)} missing", "`calanque down`, then `calanque up`")
    else:
        yield Finding("buckets", "ok", ", ".join(object_store.BUCKETS))
    names = [".".join(namespace) for namespace in catalog.open_catalog(settings, "pipeline").list_namespaces()]
    yield Finding("catalog", "ok", f"Iceberg namespaces: {', '.join(sorted(names)) or 'none'}")
    with database.connect(settings, "pipeline", "lake") as connection:
        deliveries = connection.execute("select count(*) from registry.delivery").fetchone()
    yield Finding("registry", "ok", f"{deliveries[0] if deliveries else 0} deliveries")


def readers(settings: Settings) -> Iterator[Finding]:
    """Whether people get in as the roles that read, and with the limits of their sessions."""
    import psycopg

    from infra import database, endpoints
    from infra.machines.provisioning import readers

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    with database.connect(settings, database.ADMIN, "postgres") as server:
        changed = readers.changed(server)
    remedy = "somebody changed it as this role: `calanque up` sets it right; give a new secret if the old one leaked"
    for role, name in (("analyst", "bi"), ("steward", "lake")):
        try:
            database.connect(settings, role, name).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                raise
            detail = f"the password of role {role} is not that of its secret pg-{role}: nobody gets in as it"
            yield Finding("readers", "fail", detail, remedy)
            continue
        if role in changed:
            yield Finding("readers", "warn", f"sessions of role {role} begin without their limits", remedy)
        else:
            yield Finding("readers", "ok", f"role {role} can connect")


def connections(settings: Settings) -> Iterator[Finding]:
    """Who holds the connections of the database, and whether anybody is shut out by it."""
    from infra import database, endpoints

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    with database.connect(settings, database.ADMIN, "postgres") as server:
        held = server.execute(
            """
            select rolname, count(*), rolconnlimit
            from pg_stat_activity inner join pg_roles on pg_roles.oid = usesysid
            where backend_type = 'client backend' group by rolname, rolconnlimit order by 2 desc, 1
            """
        ).fetchall()
        [(most,)] = server.execute("select current_setting('max_connections')::integer").fetchall()
    total, remedy = sum(number for _, number, _ in held), "close its sessions: a BI tool may keep many"
    full = [(role, number) for role, number, limit in held if 0 <= limit <= number]
    for role, number in full:
        detail = f"role {role} holds all {number} connections that it may have: nobody else gets in as it"
        yield Finding("connections", "fail", detail, remedy)
    who = ", ".join(f"{role} {number}" for role, number, _ in held)
    if total > most * _CROWDED:
        detail = f"{total} of {most} connections of the database are taken: {who}"
        yield Finding("connections", "fail", detail, f"role {held[0][0]} holds most: {remedy}")
    elif not full:
        yield Finding("connections", "ok", f"{total} of {most}: {who}")


def locks(settings: Settings) -> Iterator[Finding]:
    """Sessions of the database that have waited for others for more than a moment, and for whom."""
    from infra import database, endpoints

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    with database.connect(settings, "steward", "lake") as connection:
        waiting = connection.execute(_WAITING, [_MOMENT_SECONDS]).fetchall()
    for waits, seconds, holders in waiting:
        detail = f"{waits} has waited {seconds:.0f} s for {holders}"
        yield Finding("locks", "warn", detail, "wait until that is done, or end its process")
    if not waiting:
        yield Finding("locks", "ok", "nobody waits for anybody")


def tables(settings: Settings) -> Iterator[Finding]:
    """Whether every Iceberg table can be read, as far as its metadata go."""
    from infra import catalog, endpoints

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    sound, remedy = 0, "`calanque restore FOLDER --mend` puts back what a backup has, see docs/operations/backup.md"
    for role, namespace in (("pipeline", "conformed"), ("publisher", "marts")):
        opened = catalog.open_catalog(settings, role)
        for parts in sorted(opened.list_tables(namespace)):
            found = catalog.damage(opened, ".".join(parts))
            if found is None:
                sound += 1
            else:
                yield Finding("tables", "fail", str(found), remedy)
    yield Finding("tables", "ok", f"{sound} Iceberg tables can be read")


def used_keys(settings: Settings) -> Iterator[Finding]:
    """Whether every key that was ever used is the one it was, or was destroyed when its time was over."""
    from infra import endpoints
    from infra.keys.known_keys import KnownKeys
    from infra.keys.store import open_keys

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    wrong = KnownKeys(settings, open_keys(settings)).wrong()
    for sentence in wrong.values():
        yield Finding("used keys", "fail", sentence, "docs/runbooks/lost-key.md")
    if not wrong:
        yield Finding("used keys", "ok", "each is the one it was, or was destroyed in time")


def waiting(settings: Settings) -> Iterator[Finding]:
    """Deliveries that wait for somebody."""
    from infra import database, endpoints, registry

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    with database.connect(settings, "steward", "lake") as connection:
        parked = registry.parked_deliveries(connection)
    for delivery in parked[:_SHOWN]:
        detail = f"{delivery.silo}, delivery {delivery.delivery_id[:12]} is parked: {delivery.reason}"
        yield Finding("deliveries", "warn", detail, "docs/runbooks/delivery-parked.md")
    if len(parked) > _SHOWN:
        yield Finding("deliveries", "warn", f"{len(parked) - _SHOWN} more are parked", "`calanque report`")
    if not parked:
        yield Finding("deliveries", "ok", "none is parked")


def clocks(settings: Settings) -> Iterator[Finding]:
    """Whether this machine, the database and the object store agree on the time, and the lake believes it."""
    from infra import database, endpoints
    from infra.calendar import trusted_clock

    try:
        endpoints.load(settings)
    except endpoints.NotRunning:
        return
    if settings.now is not None:
        yield Finding("clock", "warn", f"frozen at {settings.now:%Y-%m-%d %H:%M} UTC", "unset CALANQUE_NOW")
    elif settings.drill_mark.exists():
        yield Finding("clock", "ok", "this lake was made as a drill: its clock may be another")
    for why in trusted_clock.doubts(settings, "steward"):
        yield Finding("clock", "fail", why, "docs/runbooks/clock-doubted.md")
    with database.connect(settings, "steward", "lake") as connection:
        others = list(trusted_clock.others(settings, connection))
    for name, ahead in others:
        apart = abs(ahead.total_seconds())
        if apart > _CLOCK_SECONDS:
            yield Finding("clock", "fail", f"{name} and this machine are {apart:,.0f} s apart", "set both by NTP")
        else:
            yield Finding("clock", "ok", f"{name} and this machine agree")


def people(settings: Settings) -> Iterator[Finding]:
    """Whom warnings reach, and whether the addresses that are given are somebody's whom a warning names."""
    from ingestion.register import silos
    from stewardship.alerts.people import PeopleError, read
    from stewardship.watch.checks import PLATFORM, PROTECTION

    try:
        given = read(settings)
    except PeopleError as wrong:
        yield Finding("warnings", "fail", str(wrong), "docs/operations/stewards.md")
        return
    owners = {PLATFORM, PROTECTION, *(silo.steward for silo in silos().values())}
    for name in sorted(given.keys() - owners):
        remedy = f"in CALANQUE_ALERT_OWNERS, write one of: {'; '.join(sorted(owners))}"
        yield Finding("warnings", "fail", f"no warning is ever for {name!r}", remedy)
    if settings.smtp_url and settings.alert_to:
        found = f"{len(owners & given.keys())} of {len(owners)} owners have addresses of their own"
        yield Finding("warnings", "ok", f"by e-mail; {found}")
    elif settings.webhook_url:
        yield Finding("warnings", "ok", "by webhook")
    else:
        yield Finding(
            "warnings", "warn", "told to nobody, only listed by `calanque alerts`", "docs/operations/stewards.md"
        )


def dags(settings: Settings) -> Iterator[Finding]:
    """Whether Airflow could read every DAG file."""
    from infra import endpoints, secrets
    from infra.machines.airflow import servers as airflow
    from infra.machines.airflow.api import AirflowApi

    try:
        url = endpoints.load(settings).airflow_url
    except endpoints.NotRunning:
        return
    if url is None:
        return
    api = AirflowApi(url, airflow.USER, secrets.read(settings, airflow.PASSWORD))
    if errors := api.import_errors():
        yield Finding("dags", "fail", "; ".join(error.splitlines()[0] for error in errors), "see the Airflow UI")
    else:
        yield Finding("dags", "ok", f"{len(api.dag_ids())} DAGs")
