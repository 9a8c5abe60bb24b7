"""People counted in public places."""

from __future__ import annotations

from datetime import timedelta

from ingestion.register import Dataset, Retention, Silo, on_demand

SILO = Silo(
    name="crowd_flows",
    title="Flux piétons et densité (crowd flows)",
    steward="Direction de la police municipale et de la sécurité, cellule événements",
    purpose="People passing and density in public places, to prepare events and prevent crushes.",
    legal_basis=(
        "Task carried out in the public interest: the mayor's duty to keep good order where many gather, code général "
        "des collectivités territoriales, art. L. 2212-2. Counts are anonymous when delivered. Where a camera counts, "
        "the camera is under code de la sécurité intérieure, art. L. 251-1 s., and its images never reach the lake. To "
        "be confirmed by the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=None,
    ),
    privacy_unit="none: passages are counted, no one is followed",
    freshness=timedelta(days=1),
    cadence="*/30 * * * *",
    datasets=(
        Dataset(
            name="crowd_flows",
            description=(
                "People counted passing, by counter, direction and interval. A counter gives either everybody (cohort "
                "`all`) or adults and children apart, and either both directions together or each apart, so that its "
                "rows add up."
            ),
            places="crowd_places",
            version="1.1.1",
            contract=on_demand(f"{__name__}.contracts:COUNTS"),
            key=("place_id", "direction", "cohort", "starts_at"),
        ),
        Dataset(
            name="crowd_places",
            description="Places where people are counted, from the registers of counters.",
            version="1.0.1",
            contract=on_demand(f"{__name__}.contracts:PLACES"),
            key=("place_id",),
            reference=True,
        ),
    ),
    accepts=on_demand(f"{__name__}.formats:FORMATS"),
    demo=on_demand(f"{__name__}.demo:DEMO"),
)
