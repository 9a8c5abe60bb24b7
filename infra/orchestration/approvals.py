"""Stewards are told that something waits for them, once, until they have answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from infra.settings import Settings
    from publication.approvals import Approval

KIND: Final = "approval-waiting"


def ask_people(settings: Settings, dag_run: Any, what: str) -> None:
    """Tell stewards that a run waits for their answer to the question whether to do ``what``."""
    from infra import endpoints
    from infra.alerts import Alert, raise_alert

    at = endpoints.load(settings).airflow_url or ""
    asked_by = dag_run.triggering_user_name or "somebody"
    raise_alert(
        settings,
        Alert(
            kind=KIND,
            key=f"{dag_run.dag_id}/{dag_run.run_id}",
            subject=what,
            silo_or_mart=None,
            owner="data-protection",
            sentence=f"{asked_by} asks a steward to {what}. The answer is given in Airflow, under Required Actions.",
            details={"where": f"{at}/dags/{dag_run.dag_id}/runs/{dag_run.run_id}/required_actions"},
        ),
    )


def settle_question(settings: Settings, dag_run: Any, approval: Approval) -> None:
    """Say that a question was answered, how and by whom."""
    from infra.alerts import resolve_alert

    how = "approved" if approval.approved else "refused"
    because = f"{how} by {approval.decided_by} at {approval.decided_at:%Y-%m-%d %H:%M} UTC"
    resolve_alert(settings, KIND, f"{dag_run.dag_id}/{dag_run.run_id}", because)
