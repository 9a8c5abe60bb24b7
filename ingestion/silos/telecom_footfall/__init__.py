"""Footfall from mobile networks, accepted only as the operator aggregated it."""

from __future__ import annotations

from datetime import timedelta

from ingestion.register import Dataset, Retention, Silo, on_demand

SILO = Silo(
    name="telecom_footfall",
    title="Fréquentation par téléphonie mobile (telecom footfall)",
    steward="Direction de la police municipale et de la sécurité, cellule statistique",
    purpose="Residents, workers and visitors per zone and time band, to size means to the people really there.",
    legal_basis=(
        "Task carried out in the public interest: GDPR art. 6(1)(e). The operator may only pass on anonymous data: "
        "code des postes et des communications électroniques, art. L. 34-1; the city accepts counts the operator "
        "aggregated, and nothing else. To be confirmed by the DPO."
    ),
    recipients=("Analysts of the security department: marts only", "Stewards and DPO: receipts and quarantine"),
    retention=Retention(
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=None,
    ),
    privacy_unit="device-month, by the operator",
    freshness=timedelta(days=3),
    cadence="40 */6 * * *",
    datasets=(
        Dataset(
            name="telecom_footfall",
            description=(
                "Presence or arrivals estimated by a mobile operator, aggregated by the operator before delivery."
            ),
            version="1.0.1",
            contract=on_demand(f"{__name__}.contracts:FOOTFALL"),
            key=("zone_id", "category", "measure", "stratum", "starts_at"),
        ),
        Dataset(
            name="telecom_zones",
            description="Correspondence between districts and the zones of the operator.",
            version="1.0.1",
            contract=on_demand(f"{__name__}.contracts:ZONES"),
            key=("district",),
            reference=True,
        ),
    ),
    accepts=on_demand(f"{__name__}.formats:FORMATS"),
    demo=on_demand(f"{__name__}.demo:DEMO"),
)
