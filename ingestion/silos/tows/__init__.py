"""Vehicle removals and the pound's register (mise en fourrière)."""

from __future__ import annotations

from datetime import timedelta

from ingestion.register import Dataset, Retention, Silo, on_demand

SILO = Silo(
    name="tows",
    title="Enlèvements et fourrière (tows)",
    steward="Direction de la police municipale et de la sécurité, gestion de la fourrière",
    purpose=(
        "Statistics of removals by place, time, reason and delay, and of the demand for tow trucks. Never to look for "
        "a vehicle or its owner."
    ),
    legal_basis=(
        "Task carried out in the public interest: GDPR art. 6(1)(e), for statistics as art. 5(1)(b) and 89 allow; loi "
        "no 78-17 du 6 janvier 1978; fourrière: code de la route, art. L. 325-1 s. and R. 325-12 s., décret no "
        "2020-775 du 24 juin 2020. To be confirmed by the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=13,
    ),
    privacy_unit="vehicle-month",
    freshness=timedelta(days=2),
    cadence="25 5-22 * * *",
    datasets=(
        Dataset(
            name="tows",
            description="Vehicle removals and what became of them in the pound: one row per removal.",
            version="1.1.1",
            contract=on_demand(f"{__name__}.contracts:TOWS"),
            key=("record_key",),
        ),
    ),
    accepts=on_demand(f"{__name__}.formats:FORMATS"),
    demo=on_demand(f"{__name__}.demo:DEMO"),
)
