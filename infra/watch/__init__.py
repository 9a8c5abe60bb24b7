"""Everything that is looked at to warn people: a composition root, run by Airflow and by ``calanque watch``."""

from infra.watch.rounds import Round, after_ingestion, watch

__all__ = ["Round", "after_ingestion", "watch"]
