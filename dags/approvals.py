"""What waits for a steward: the correction of a release, a major version of a contract."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowSkipException

from infra.orchestration.approvals import ask_people, settle_question
from infra.orchestration.failures import defaults, guarded
from infra.privacy_plan import plan
from ingestion.declared import silos

OWNER = "data-protection"
APPROVE, REFUSE = "Approve", "Refuse"
PATIENCE = timedelta(days=30)
COMMON: dict[str, Any] = {"schedule": None, "catchup": False, "tags": ["approval"]}
REASON = Param("", type="string", minLength=10, title="Why", description="In a sentence: it is kept for years.")


def steward(task_id: str, subject: str) -> HITLOperator:
    """Waits, without holding a worker, for an answer under Required Actions."""
    return HITLOperator(
        task_id=task_id,
        subject=subject,
        body="{{ ti.xcom_pull(task_ids='propose') }}",
        options=[APPROVE, REFUSE],
        params={"remark": Param(None, type=["null", "string"], title="Remark", description="Kept with the answer.")},
        response_timeout=PATIENCE,
        execution_timeout=None,
        retries=0,
        doc_md=f"A steward's answer, within {PATIENCE.days} days; without one the run fails and nothing is done.",
    )


def answered(answer: dict[str, Any], dag_run: Any, **asked: str) -> Any:
    """The approval that an answer amounts to."""
    from publication.approvals import Approval

    at = answer["responded_at"]
    return Approval(
        reference=f"{dag_run.dag_id}/{dag_run.run_id}",
        asked_by=dag_run.triggering_user_name,
        asked_at=dag_run.run_after,
        approved=answer["chosen_options"] == [APPROVE],
        decided_by=answer["responded_by_user"]["name"],
        decided_at=datetime.fromisoformat(at) if isinstance(at, str) else at,
        remark=answer["params_input"].get("remark"),
        **asked,
    )


with DAG(
    dag_id="correct_release",
    description="A published period is published once more, when its steward approves",
    doc_md="""
### Correct a release

Trigger it with the mart, the first day of the period and the reason. What would be published again and what it spends
is shown under *Required Actions*, where a steward approves or refuses. Who asked, who answered, when and why goes to
`registry.approval` and to the receipts; approved, the next build makes the second edition. A period can be corrected
once.
""",
    params={
        "mart": Param(type="string", enum=sorted(plan().marts), title="Mart"),
        "first_day": Param(type="string", format="date", title="First day of the period"),
        "reason": REASON,
    },
    default_args=defaults(OWNER, within=timedelta(minutes=10), pool="default_pool"),
    **COMMON,
) as correct_release:

    @task(doc_md="What the correction would do; refused at once when it is not possible.")
    @guarded
    def propose(params: dict[str, Any] | None = None, dag_run: Any = None) -> str:
        from datetime import date

        from infra.settings import Settings
        from publication import approvals

        asked = params or {}
        settings = Settings()
        first_day = date.fromisoformat(asked["first_day"])
        proposal = approvals.propose_correction(settings, asked["mart"], first_day, asked["reason"])
        ask_people(settings, dag_run, f"correct {asked['mart']} of the period that begins on {first_day}")
        return proposal

    @task(doc_md="The answer recorded; if it is yes, the correction asked for.")
    @guarded
    def carry_out(answer: dict[str, Any], params: dict[str, Any] | None = None, dag_run: Any = None) -> list[str]:
        from datetime import date

        from infra.settings import Settings
        from publication import approvals

        asked = params or {}
        settings = Settings()
        subject = f"{asked['mart']} {asked['first_day']}"
        approval = answered(answer, dag_run, kind="correction", subject=subject, reason=asked["reason"])
        first_day = date.fromisoformat(asked["first_day"])
        corrected = approvals.carry_out_correction(settings, approval, asked["mart"], first_day)
        settle_question(settings, dag_run, approval)
        if not corrected:
            raise AirflowSkipException("refused by the steward: nothing is done")
        return corrected

    _answer = steward("steward_decides", "Correct {{ params.mart }} of {{ params.first_day }}?")
    propose() >> _answer
    carry_out(_answer.output) >> TriggerDagRunOperator(
        task_id="build",
        trigger_dag_id="build_marts",
        doc_md="The next build makes the second edition, and its candidates are released as usual.",
    )

with DAG(
    dag_id="change_contract",
    description="A major version of a contract is put in force, when its steward approves",
    doc_md="""
### Change a contract

A release of Calanque may bring a major version of a contract: one by which senders or readers may have to change
something. Until it is approved the deliveries of its silo wait, landed and unread. Trigger this DAG with the dataset
and the reason; what changes is shown under *Required Actions*, where a steward approves or refuses. Approved, the
version is in force and the silo is ingested again at its next run. Refused, deliveries go on waiting: install the
release before, or a version that does without the change.
""",
    params={
        "dataset": Param(
            type="string",
            enum=sorted(dataset for silo in silos().values() for dataset in silo.datasets),
            title="Dataset",
        ),
        "reason": REASON,
    },
    default_args=defaults(OWNER, within=timedelta(minutes=10), pool="default_pool"),
    **COMMON,
) as change_contract:

    @task(task_id="propose", doc_md="What the version changes; refused at once when it needs no approval.")
    @guarded
    def propose_version(params: dict[str, Any] | None = None, dag_run: Any = None) -> str:
        from infra.settings import Settings
        from ingestion import contract_documents
        from publication import approvals

        settings = Settings()
        document = contract_documents.named((params or {})["dataset"])
        proposal = approvals.propose_contract(settings, document)
        ask_people(settings, dag_run, f"put version {document.version} of the contract of {document.name} in force")
        return proposal

    @task(task_id="carry_out", doc_md="The answer recorded; if it is yes, the version put in force.")
    @guarded
    def carry_out_version(answer: dict[str, Any], params: dict[str, Any] | None = None, dag_run: Any = None) -> str:
        from infra.settings import Settings
        from ingestion import contract_documents
        from publication import approvals

        asked = params or {}
        settings = Settings()
        document = contract_documents.named(asked["dataset"])
        subject = f"{document.name} {document.version}"
        approval = answered(answer, dag_run, kind="contract", subject=subject, reason=asked["reason"])
        in_force = approvals.carry_out_contract(settings, approval, document)
        settle_question(settings, dag_run, approval)
        if not in_force:
            raise AirflowSkipException("refused by the steward: deliveries go on waiting")
        return document.version

    _version_answer = steward("steward_decides", "A major version of the contract of {{ params.dataset }}?")
    propose_version() >> _version_answer
    carry_out_version(_version_answer.output)
