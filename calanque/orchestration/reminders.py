"""Stewards are told that something waits for them, once, until they have answered or the time for it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from infra.settings import Settings
    from stewardship.approvals import Approval

KIND: Final = "approval-waiting"
APPROVE: Final = "Approve"
REFUSE: Final = "Refuse"
"""What a question that nobody answered in time is taken for."""
PATIENCE: Final = timedelta(days=30)
NOBODY: Final = "nobody"


def ask_people(settings: Settings, dag_run: Any, what: str, owner: str) -> None:
    """Tell the ``owner`` of a question that a run waits for a steward's answer whether to do ``what``."""
    from infra import endpoints
    from stewardship.alerts import Alert, raise_alert

    at = endpoints.load(settings).airflow_url or ""
    asked_by = dag_run.triggering_user_name or "somebody"
    raise_alert(
        settings,
        Alert(
            kind=KIND,
            key=f"{dag_run.dag_id}/{dag_run.run_id}",
            subject=what,
            silo_or_mart=None,
            owner=owner,
            sentence=f"{asked_by} asks a steward to {what}. The answer is given in Airflow, under Required Actions, "
            f"within {PATIENCE.days} days: without one nothing is done.",
            details={"where": f"{at}/dags/{dag_run.dag_id}/runs/{dag_run.run_id}/required_actions"},
        ),
    )


def answered(answer: dict[str, Any] | None, dag_run: Any, **asked: Any) -> Approval:
    """The approval that the answer of a ``HITLOperator`` amounts to, of what was ``asked`` (kind, subject, reason).

    Without one it is a refusal by :data:`NOBODY`: the time for it is over, or somebody marked the task as done.
    """
    from stewardship.approvals import Approval

    found = answer or {"responded_at": datetime.now(UTC), "responded_by_user": None}
    at, who = found["responded_at"], found["responded_by_user"]
    silence = f"no answer within {PATIENCE.days} days" if answer else "taken back: its task was marked as done"
    return Approval(
        reference=f"{dag_run.dag_id}/{dag_run.run_id}",
        asked_by=dag_run.triggering_user_name,
        asked_at=dag_run.run_after,
        approved=who is not None and found["chosen_options"] == [APPROVE],
        decided_by=who["name"] if who else NOBODY,
        decided_at=datetime.fromisoformat(at) if isinstance(at, str) else at,
        remark=found["params_input"].get("remark") if who else silence,
        **asked,
    )


def settle_question(settings: Settings, dag_run: Any, approval: Approval) -> None:
    """Say that a question was answered, how, by whom, and with which remark."""
    from stewardship.alerts import resolve_alert

    how = "approved" if approval.approved else "refused"
    by = f" by {approval.decided_by}" if approval.decided_by != NOBODY else ""
    said = f": {approval.remark}" if approval.remark else ""
    because = f"{how}{by} at {approval.decided_at:%Y-%m-%d %H:%M} UTC{said}"
    resolve_alert(settings, KIND, f"{dag_run.dag_id}/{dag_run.run_id}", because)
