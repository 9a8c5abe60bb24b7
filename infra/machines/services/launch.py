"""``python -m infra.machines.services.launch NAME``: what the supervisor runs for each service.

Clears what an earlier life of the service left behind, puts its files in order, drops root's rights where the service
must not have them, and becomes the service. Secrets therefore never appear in the supervisor's configuration.
"""

from __future__ import annotations

import os
import sys

from infra.machines.services import processes
from infra.machines.services.accounts import as_account
from infra.machines.services.lake import services
from infra.machines.services.model import ServiceError
from infra.settings import PRIVATE, Settings

# Workers whose scheduler was killed take no notice of being asked; what they were doing will be done again.
_ORPHAN_SECONDS = 5


def launch(name: str) -> None:
    """Replace this process by the service ``name`` of the lake that the environment describes."""
    settings = Settings()
    service = next(candidate for candidate in services(settings) if candidate.name == name)
    os.umask(PRIVATE)
    processes.stop_left_over(settings, name, seconds=_ORPHAN_SECONDS)
    for path in service.leavings:
        path.unlink(missing_ok=True)
    if service.prepare is not None:
        service.prepare()
    service.directory.mkdir(parents=True, exist_ok=True)
    os.chdir(service.directory)
    environment = {**processes.clean_environment(), **processes.marks(settings, name), **service.environment()}
    command = as_account(service.command, service.account, service.places())
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is what we want


if __name__ == "__main__":
    try:
        launch(sys.argv[1])
    except ServiceError as failure:
        sys.exit(str(failure))
