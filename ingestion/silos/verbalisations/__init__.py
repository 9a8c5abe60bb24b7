"""Fines, as officers write them electronically (verbalisation)."""

from __future__ import annotations

from datetime import timedelta

from ingestion.register import Dataset, Retention, Silo, on_demand

SILO = Silo(
    name="verbalisations",
    title="Verbalisations électroniques (fines)",
    steward="Direction de la police municipale et de la sécurité, cellule statistique",
    purpose=(
        "Statistics of fines by place, time and nature, to plan the presence of the municipal police. Never to look "
        "for a vehicle, a person or an agent."
    ),
    legal_basis=(
        "Task carried out in the public interest: GDPR art. 6(1)(e), for statistics as art. 5(1)(b) and 89 allow; loi "
        "no 78-17 du 6 janvier 1978; missions of the municipal police: code de la sécurité intérieure, art. L. 511-1; "
        "arrêté du 14 avril 2009 (traitements des communes pour la constatation des infractions). To be confirmed by "
        "the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=13,
    ),
    privacy_unit="vehicle-month",
    freshness=timedelta(days=2),
    cadence="20 5-22 * * *",
    datasets=(
        Dataset(
            name="verbalisations",
            description="Fines: one row per fine recorded by electronic or paper ticket.",
            version="1.1.1",
            contract=on_demand(f"{__name__}.contracts:FINES"),
            key=("record_key",),
        ),
    ),
    accepts=on_demand(f"{__name__}.formats:FORMATS"),
    demo=on_demand(f"{__name__}.demo:DEMO"),
)
