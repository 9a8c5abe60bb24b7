"""What waits for a steward: the correction of a release, a major version of a contract, the days that a silo is
complete for, a period that is published as it is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowSkipException

from calanque.orchestration.failures import defaults, guarded
from calanque.orchestration.reminders import APPROVE, PATIENCE, REFUSE, answered, ask_people, settle_question
from ingestion.register import silos
from privacy.plan import plan

OWNER = "data-protection"
STEWARDS = {dataset.name: silo.steward for silo in silos().values() for dataset in silo.datasets}
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
        retries=2,  # an answer that comes while the process that asked is still ending fails the task: it asks again
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
        from stewardship import approvals

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
        from stewardship import approvals

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
        from ingestion.contracts import silo_documents
        from stewardship import approvals

        asked = params or {}
        settings = Settings()
        document = silo_documents.named(asked["dataset"])
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
        from ingestion.contracts import silo_documents
        from stewardship import approvals

        asked = params or {}
        settings = Settings()
        document = silo_documents.named(asked["dataset"])
        approval = answered(answer, dag_run, kind="contract", subject=question["subject"], reason=asked["reason"])
        settle_question(settings, dag_run, approval)
        if not approvals.carry_out_contract(settings, approval, document):
            raise AirflowSkipException("refused: deliveries go on waiting")
        return document.version

    _version = propose_version()
    _version_answer = steward("steward_decides", "A major version of the contract of {{ params.dataset }}?")
    _version >> _version_answer
    carry_out_version(_version_answer.output, _version)

with DAG(
    dag_id="declare_cover",
    description="The days that a silo is complete for are declared, when its steward approves",
    doc_md="""
### Declare cover

Only periods that somebody declared a silo complete for are published; rows on other days wait unread. Senders declare
them with what they deliver; what nobody declared is declared here. Trigger it with the silo and the reason: without
days it proposes those of which there are rows. What the lake holds of each is shown under *Required Actions*, where a
steward approves or refuses; a day without rows counts as zero. To take a mistake back, tick *take back*: possible as
long as nothing of the days was published.
""",
    params={
        "silo": Param(type="string", enum=sorted(silos()), title="Silo"),
        "first": Param(None, type=["null", "string"], format="date", title="First day"),
        "last": Param(None, type=["null", "string"], format="date", title="Last day"),
        "but": Param("", type="string", title="Except", description="Days, 2026-01-14, or 2026-01-14/2026-01-16."),
        "take_back": Param(False, type="boolean", title="Take back"),
        "reason": REASON,
    },
    default_args=defaults(OWNER, within=timedelta(minutes=10), pool="default_pool"),
    **COMMON,
) as declare_cover:

    @task(task_id="propose", doc_md="The days, and what the lake holds of them; refused at once when not possible.")
    @guarded
    def propose_cover(params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, Any]:
        from infra.settings import Settings
        from stewardship import covering

        asked = params or {}
        settings = Settings()
        cover = covering.asked(settings, asked)
        body = covering.propose_cover(settings, cover, asked["reason"])
        ask_people(settings, dag_run, f"declare days of {asked['silo']}", silos()[asked["silo"]].steward)
        return {"subject": cover.subject, "body": body, "days": [str(day) for day in cover.days]}

    @task(task_id="carry_out", doc_md="The answer recorded; if it is yes, the days declared.")
    @guarded
    def carry_out_cover(
        answer: dict[str, Any] | None,
        question: dict[str, Any],
        params: dict[str, Any] | None = None,
        dag_run: Any = None,
    ) -> str:
        from datetime import date

        from infra.settings import Settings
        from stewardship import covering

        asked = params or {}
        settings = Settings()
        approval = answered(answer, dag_run, kind="cover", subject=question["subject"], reason=asked["reason"])
        settle_question(settings, dag_run, approval)
        days = tuple(map(date.fromisoformat, question["days"]))
        cover = covering.Cover(asked["silo"], days, covers=not asked["take_back"])
        if not covering.carry_out_cover(settings, approval, cover):
            raise AirflowSkipException("refused: nothing is declared")
        return cover.subject

    _cover = propose_cover()
    _cover_answer = steward("steward_decides", "Declare days of {{ params.silo }}?")
    _cover >> _cover_answer
    carry_out_cover(_cover_answer.output, _cover) >> TriggerDagRunOperator(
        task_id="build", trigger_dag_id="build_marts", doc_md="What is due now is built, and released as usual."
    )

with DAG(
    dag_id="publish_as_it_is",
    description="A period is published without days or a delivery that it waits for, when its steward approves",
    doc_md="""
### Publish as it is

A period waits until somebody declared all its days and everything that was delivered is read. Trigger it with the silo
and the first and last day of the period that is to be published without the days it waits for; or with a delivery that
no period is to wait for. The figures say of how many days they are. What comes later is published by a correction only.
""",
    params={
        "silo": Param(type="string", enum=sorted(silos()), title="Silo"),
        "first": Param(None, type=["null", "string"], format="date", title="First day of the period"),
        "last": Param(None, type=["null", "string"], format="date", title="Last day of the period"),
        "without": Param(None, type=["null", "string"], title="Or a delivery", description="Its id, or the beginning."),
        "reason": REASON,
    },
    default_args=defaults(OWNER, within=timedelta(minutes=10), pool="default_pool"),
    **COMMON,
) as publish_as_it_is:

    @task(task_id="propose", doc_md="What would be published without what; refused at once when nothing waits.")
    @guarded
    def propose_go_ahead(params: dict[str, Any] | None = None, dag_run: Any = None) -> dict[str, str]:
        from infra.settings import Settings
        from stewardship import covering

        asked = params or {}
        settings = Settings()
        go_ahead = covering.GoAhead.of(asked)
        body = covering.propose_go_ahead(settings, go_ahead, asked["reason"])
        ask_people(settings, dag_run, f"publish {go_ahead.subject} as it is", silos()[asked["silo"]].steward)
        return {"subject": go_ahead.subject, "body": body}

    @task(task_id="carry_out", doc_md="The answer recorded; if it is yes, publication does not wait.")
    @guarded
    def carry_out_go_ahead(
        answer: dict[str, Any] | None,
        question: dict[str, str],
        params: dict[str, Any] | None = None,
        dag_run: Any = None,
    ) -> str:
        from infra.settings import Settings
        from stewardship import covering

        asked = params or {}
        settings = Settings()
        approval = answered(answer, dag_run, kind="publication", subject=question["subject"], reason=asked["reason"])
        settle_question(settings, dag_run, approval)
        if not covering.carry_out_go_ahead(settings, approval, covering.GoAhead.of(asked)):
            raise AirflowSkipException("refused: it goes on waiting")
        return question["subject"]

    _go_ahead = propose_go_ahead()
    _go_ahead_answer = steward("steward_decides", "Publish {{ params.silo }} as it is?")
    _go_ahead >> _go_ahead_answer
    carry_out_go_ahead(_go_ahead_answer.output, _go_ahead) >> TriggerDagRunOperator(
        task_id="build", trigger_dag_id="build_marts", doc_md="What is due now is built, and released as usual."
    )
