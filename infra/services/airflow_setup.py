"""``python -m infra.services.airflow_setup FILE``: Airflow's metadata tables, and its administrator's login.

A program of its own because it imports Airflow, which reads its configuration from the environment as it is imported;
one program rather than two of Airflow's commands because each takes seconds to import. FILE holds the password.
"""

from __future__ import annotations

import sys
from pathlib import Path

USER = "admin"


def set_up(password: str) -> None:
    """Bring the metadata database of the configured Airflow up to date and give ``admin`` this password."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils import db
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    @providers_configuration_loaded
    def prepare() -> None:
        db.upgradedb()
        with get_application_builder() as builder:
            manager = builder.sm
            manager.sync_roles()
            user = manager.find_user(username=USER)
            if user is None:
                role = manager.find_role("Admin")
                if not manager.add_user(USER, "Calanque", "Admin", "admin@localhost", role, password):
                    sys.exit("Airflow refused to create the user admin")
            else:
                manager.reset_password(user.id, password)

    prepare()


if __name__ == "__main__":
    set_up(Path(sys.argv[1]).read_text().strip())
