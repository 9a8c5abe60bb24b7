"""What was refused is seen where runs are looked at: as a note on the task that refused it, in Airflow's grid."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from infra.settings import Settings

ACCOUNT: Final = "operator"
MOST_CHARACTERS: Final = 1000
"""What Airflow takes as a note."""

_log = logging.getLogger(__name__)


def note(settings: Settings, task: Any, sentences: Sequence[str]) -> None:
    """Put ``sentences`` on a running task as its note. The work is done: nothing fails when Airflow does not answer."""
    from infra.errors import ExpectedError
    from infra.machines.airflow import api as airflow_api

    if not sentences:
        return
    text = "\n".join((f"Refused: {len(sentences)}. `calanque deliveries` has them all.", *sentences))
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS - 1] + "…"
    try:
        with airflow_api.connect(settings, ACCOUNT) as api:
            api.note(task.dag_id, task.run_id, task.task_id, text)
    except (ExpectedError, OSError) as error:
        _log.warning("what was refused is not noted on the run, only here: %s", error)
