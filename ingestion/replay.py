"""Having a delivery conformed again, after what was wrong with it was mended on our side: code, register, city profile.

The delivery keeps its place in the order of landing, so what later ones replaced stays replaced. Its rows in the table
are taken out and those that are good now put in, in one commit: a row that was quarantined and is valid today is in the
table once. Tallies, receipt and quarantine are those of the newest time; the receipt holds the earlier ones.
"""

from __future__ import annotations

from contextlib import closing
from typing import Literal

import psycopg

from infra import database, object_store, registry
from infra.calendar import clock
from infra.errors import ExpectedError
from infra.registry import DeliveryRow
from infra.settings import Settings
from ingestion import receipts
from ingestion.delivery import landing
from ingestion.refusal import Refused
from ingestion.register import silos

ROLE = "pipeline"


class ReplayError(ExpectedError, RuntimeError):
    """A delivery that cannot be conformed again; the message says why, and what to do."""


def find(connection: psycopg.Connection, silo: str, delivery: str) -> DeliveryRow:
    """The delivery of ``silo`` whose id begins with ``delivery``.

    Raises:
        ReplayError: there is no such silo or delivery, or more than one.
    """
    if silo not in silos():
        raise ReplayError(f"there is no silo {silo!r}; there are: {', '.join(silos())}")
    known = connection.execute(
        "select delivery_id from registry.delivery where silo = %s and starts_with(delivery_id, %s) limit 2",
        [silo, delivery],
    ).fetchall()
    if len(known) != 1 or not delivery:
        how_many = "several deliveries begin" if known else "no delivery begins"
        raise ReplayError(f"silo {silo}: {how_many} with {delivery!r}; `calanque quarantine list` shows the ids")
    found = registry.delivery(connection, silo, known[0][0])
    if found is None:
        raise ReplayError(f"silo {silo}: delivery {delivery} is gone")
    return found


def replay(
    settings: Settings, silo: str, delivery: str, reason: str = "what was wrong was mended", asked_by: str = "calanque"
) -> Literal["parked", "refused", "committed", "landed"]:
    """Make a delivery wait to be ingested again, with today's code and city profile; the next ingestion does it.

    A parked or refused one is tried once more. Of a committed one every row is conformed anew; should it be refused
    then, what was committed before stands.

    Args:
        settings: of the lake.
        silo: name of a registered silo.
        delivery: its id, or enough of the beginning.
        reason: why, in a sentence; kept with the receipt.
        asked_by: who asks.

    Returns:
        What it was until now; ``landed`` when it waits already, and nothing changed.

    Raises:
        ReplayError: unknown, corrected by another delivery, or its bytes are no longer kept.
    """
    with (
        closing(database.connect(settings, ROLE, "lake")) as connection,
        registry.locked(connection, f"silo {silo}"),  # not while it is being ingested
    ):
        found = find(connection, silo, delivery)
        if found.status == "landed":
            return "landed"
        if registry.is_corrected(connection, silo, found.delivery_id):
            raise ReplayError(
                f"delivery {found.delivery_id[:12]} of {silo} was corrected by another, which stands in its place: "
                "replay that one"
            )
        store = object_store.client(settings, ROLE)
        if not object_store.exists(store, landing.BUCKET, found.object_key):
            raise ReplayError(gone(found).sentence)
        match found.status:
            case "parked":
                registry.unpark_delivery(connection, silo, found.delivery_id)
                was: Literal["parked", "refused", "committed"] = "parked"
            case "refused":
                registry.reopen_delivery(
                    connection,
                    silo,
                    found.delivery_id,
                    object_key=found.object_key,
                    file_name=found.file_name,
                    format_name=found.format,
                    corrects=found.corrects,
                    landed_on=found.landed_on,
                    covers=found.covers,
                )
                was = "refused"
            case _:
                key = f"deliveries/{silo}/{found.delivery_id}.json"
                before = object_store.get_json(store, receipts.BUCKET, key)
                registry.replay_delivery(
                    connection,
                    silo,
                    found.delivery_id,
                    reason=reason,
                    asked_by=asked_by,
                    asked_at=clock.now(settings),
                    before={name: value for name, value in before.items() if name != "replays"},
                )
                was = "committed"
        connection.commit()
        return was


def gone(delivery: DeliveryRow) -> Refused:
    """Why a delivery whose bytes retention has removed cannot be conformed again."""
    return Refused(
        "bytes_gone",
        delivery.file_name,
        f"the bytes of delivery {delivery.delivery_id[:12]} are no longer kept",
        "Have its rows delivered again in a new file, which corrects it",
    )
