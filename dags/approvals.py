"""What waits for a steward: the correction of a release, a major version of a contract."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowSkipException

from infra.orchestration.approvals import APPROVE, PATIENCE, REFUSE, answered, ask_people, settle_question
from infra.orchestration.failures import defaults, guarded
from infra.privacy_plan import plan
from ingestion.declared import silos

OWNER = "data-protection"
STEWARDS = {dataset: silo.steward for silo in silos().values() for dataset in silo.datasets}
COMMON: dict[str, Any] = {"schedule": None, "catchup": False, "tags": ["approval"]}
REASON = Param("", type="string", minLength=10, title="Why", description="In a sentence: it is kept for years.")


def steward(task_id: str, subject: str) -> HITLOperator:
    """Waits, without holding a worker, for an answer under Required Actions."""
    return HITLOperator(
        task_id=task_id,
        subject=subject,
        body="Asked by **{{ dag_run.triggering_user_name }}**.\n\n{{ ti.xcom_pull(task_ids='propose')['body'] }}",
        options=[APPROVE, REFUSE],
        defaults=REFUSE,
        params={"remark": Param(None, type=["null", "string"], title="Remark", description="Kept with the answer.")},
        response_timeout=PATIENCE,
        execution_timeout=None,
        retries=0,
        doc_md=f"A steward's answer, within {PATIENCE.days} days; without one it is a refusal, recorded as nobody's.",
    )


with DAG(
    dag_id="correct_release",
    description="A published period is published once more, when its steward approves",
    doc_md="""
### Correct a release

Trigger it with the mart, the first day of the period and the reason. What would be published again and what it spends
is shown under *Required Actions*, where a steward approves or refuses; not answered in a month, it is refused. Who
asked, who answered, when and why goes to `registry.approval` and to the receipts; approved, the next build makes the
second edition. A period can be corrected once.
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
    def propose(params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, str]:
        from datetime import date

        from infra.settings import Settings
        from publication import approvals

        asked = params or {}
        settings = Settings()
        first_day = date.fromisoformat(asked["first_day"])
        body = approvals.propose_correction(settings, asked["mart"], first_day, asked["reason"])
        ask_people(settings, dag_run, f"correct {asked['mart']} of the period that begins on {first_day}", OWNER)
        return {"subject": f"{asked['mart']} {first_day}", "body": body}

    @task(doc_md="The answer recorded; if it is yes, the correction asked for.")
    @guarded
    def carry_out(
        answer: dict[str, Any] | None,
        question: dict[str, str],
        params: dict[str, Any] | None = None,
        dag_run: Any = None,
    ) -> list[str]:
        from datetime import date

        from infra.settings import Settings
        from publication import approvals

        asked = params or {}
        settings = Settings()
        approval = answered(answer, dag_run, kind="correction", subject=question["subject"], reason=asked["reason"])
        settle_question(settings, dag_run, approval)
        first_day = date.fromisoformat(asked["first_day"])
        corrected = approvals.carry_out_correction(settings, approval, asked["mart"], first_day)
        if not corrected:
            raise AirflowSkipException("refused: nothing is done")
        return corrected

    _question = propose()
    _answer = steward("steward_decides", "Correct {{ params.mart }} of {{ params.first_day }}?")
    _question >> _answer
    carry_out(_answer.output, _question) >> TriggerDagRunOperator(
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
version is in force and the silo is ingested again at its next run. Refused, or not answered in a month, deliveries go
on waiting: install the release before, or a version that does without the change.
""",
    params={
        "dataset": Param(type="string", enum=sorted(STEWARDS), title="Dataset"),
        "reason": REASON,
    },
    default_args=defaults(OWNER, within=timedelta(minutes=10), pool="default_pool"),
    **COMMON,
) as change_contract:

    @task(task_id="propose", doc_md="What the version changes; refused at once when it needs no approval.")
    @guarded
    def propose_version(params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, str]:
        from infra.settings import Settings
        from ingestion import contract_documents
        from publication import approvals

        asked = params or {}
        settings = Settings()
        document = contract_documents.named(asked["dataset"])
        body = approvals.propose_contract(settings, document, asked["reason"])
        what = f"put version {document.version} of the contract of {document.name} in force"
        ask_people(settings, dag_run, what, STEWARDS[document.name])
        return {"subject": approvals.subject_of(document), "body": body}

    @task(task_id="carry_out", doc_md="The answer recorded; if it is yes, the version put in force.")
    @guarded
    def carry_out_version(
        answer: dict[str, Any] | None,
        question: dict[str, str],
        params: dict[str, Any] | None = None,
        dag_run: Any = None,
    ) -> str:
        from infra.settings import Settings
        from ingestion import contract_documents
        from publication import approvals

        asked = params or {}
        settings = Settings()
        document = contract_documents.named(asked["dataset"])
        approval = answered(answer, dag_run, kind="contract", subject=question["subject"], reason=asked["reason"])
        settle_question(settings, dag_run, approval)
        if not approvals.carry_out_contract(settings, approval, document):
            raise AirflowSkipException("refused: deliveries go on waiting")
        return document.version

    _version = propose_version()
    _version_answer = steward("steward_decides", "A major version of the contract of {{ params.dataset }}?")
    _version >> _version_answer
    carry_out_version(_version_answer.output, _version)
