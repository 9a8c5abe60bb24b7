"""PostgreSQL's own programs, as the administrator, for the databases that hold what cannot be made again.

``lake`` has catalog, registry and ledger, ``bi`` the published marts. Airflow's metadata are not among them: what is to
be done follows from the registry, and a new Airflow finds it there.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from infra import database, endpoints, secrets
from infra.machines.backup.manifest import BackupError
from infra.machines.services.postgres import binaries
from infra.settings import Settings

DATABASES = ("bi", "lake")
"""In the order in which they are restored: a lake whose ``lake`` is empty was not restored to the end."""


def dump(settings: Settings, name: str, target: Path, *, snapshot: str | None = None) -> None:
    """Write a database to ``target``, as of ``snapshot`` (an exported one) or of now."""
    as_of = (f"--snapshot={snapshot}",) if snapshot else ()
    _run(settings, "pg_dump", name, ("--format=custom", f"--file={target}", *as_of))
    target.chmod(0o600)


def load(settings: Settings, name: str, source: Path) -> None:
    """Put a dump in the place of what the database has, in one transaction."""
    # Who owns and may do what is provisioning's to say, and is said again afterwards.
    options = ("--clean", "--if-exists", "--single-transaction", "--exit-on-error", str(source))
    _run(settings, "pg_restore", name, options)


def _run(settings: Settings, program: str, name: str, options: Sequence[str]) -> None:
    at = endpoints.load(settings)
    environment = {**os.environ, "PGPASSWORD": secrets.read(settings, f"pg-{database.ADMIN}")}
    where = (f"--host={at.postgres_host}", f"--port={at.postgres_port}", f"--username={database.ADMIN_USER}")
    command = (str(binaries() / program), *where, f"--dbname={name}", "--no-password", *options)
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if outcome.returncode:
        raise BackupError(f"{program} of database {name} failed: {outcome.stderr.strip()}")
