"""``python -m infra.machines.airflow.setup SECRETS``: Airflow's metadata tables, pools, roles and accounts.

A program of its own because it imports Airflow, which reads its configuration from the environment as it is imported;
one program rather than several of Airflow's commands because each takes seconds to import. SECRETS is the folder in
which the file ``airflow-<account>`` holds that account's password.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from infra.machines.airflow.access import ACCOUNTS, APPROVALS, POOLS, SECRET


def set_up(secrets: Path) -> None:
    """Bring the metadata database of the configured Airflow up to date, with these pools, roles and accounts."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.utils import db
    from airflow.utils.providers_configuration_loader import providers_configuration_loaded

    @providers_configuration_loaded
    def prepare() -> None:
        db.upgradedb()
        _provision_pools()
        with get_application_builder() as builder:
            manager = builder.sm
            manager.sync_roles()
            _provision_roles(manager)
            for name, account in ACCOUNTS.items():
                _provision_account(manager, name, account.role, (secrets / f"{SECRET}{name}").read_text().strip())

    prepare()


def _provision_pools() -> None:
    from airflow.models.pool import Pool

    for name, pool in POOLS.items():
        Pool.create_or_update_pool(name=name, slots=pool.slots, description=pool.meaning, include_deferred=False)


def _provision_roles(manager: Any) -> None:
    """Each role has exactly these permissions: one that was added by hand is taken away again."""
    wanted = _permissions()
    manager.bulk_sync_roles([{"role": role, "perms": sorted(pairs)} for role, pairs in wanted.items()])
    for name, pairs in wanted.items():
        role = manager.find_role(name)
        for permission in list(role.permissions):
            if (permission.action.name, permission.resource.name) not in pairs:
                manager.remove_permission_from_role(role, permission)


def _permissions() -> dict[str, set[tuple[str, str]]]:
    from airflow.providers.fab.auth_manager.security_manager.override import FabAirflowSecurityManagerOverride
    from airflow.providers.fab.www.security import permissions as fab

    look = set(FabAirflowSecurityManagerOverride.VIEWER_PERMISSIONS)
    look |= {(fab.ACTION_CAN_ACCESS_MENU, fab.RESOURCE_HITL_DETAIL)}
    run = {
        (fab.ACTION_CAN_EDIT, fab.RESOURCE_DAG),  # pause and resume; without it nothing below is allowed
        *((action, fab.RESOURCE_DAG_RUN) for action in (fab.ACTION_CAN_CREATE, fab.ACTION_CAN_EDIT)),
        *((action, fab.RESOURCE_TASK_INSTANCE) for action in (fab.ACTION_CAN_CREATE, fab.ACTION_CAN_EDIT)),
        *((action, fab.RESOURCE_BACKFILL) for action in (fab.ACTION_CAN_CREATE, fab.ACTION_CAN_EDIT)),
        (fab.ACTION_CAN_ACCESS_MENU, fab.RESOURCE_POOL),
        (fab.ACTION_CAN_ACCESS_MENU, fab.RESOURCE_ADMIN_MENU),
    }
    answer = {
        (fab.ACTION_CAN_EDIT, fab.RESOURCE_HITL_DETAIL),
        # An answer is an edit of the DAG that asks, which is not to be one of every DAG.
        *((fab.ACTION_CAN_READ, f"{fab.RESOURCE_DAG_PREFIX}{dag_id}") for dag_id in APPROVALS),
        *((fab.ACTION_CAN_EDIT, f"{fab.RESOURCE_DAG_PREFIX}{dag_id}") for dag_id in APPROVALS),
    }
    return {"Operator": look | run, "Steward": look | answer, "Viewer": look}


def _provision_account(manager: Any, name: str, role: str, password: str) -> None:
    user = manager.find_user(username=name)
    if user is None:
        if not manager.add_user(name, "Calanque", role, f"{name}@localhost", manager.find_role(role), password):
            sys.exit(f"Airflow refused to create the account {name}")
    else:
        manager.reset_password(user.id, password)


if __name__ == "__main__":
    set_up(Path(sys.argv[1]))
