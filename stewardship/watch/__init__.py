"""Everything that is looked at to warn people: run by Airflow and by ``calanque watch``."""

from stewardship.watch.rounds import Round, after_ingestion, watch

__all__ = ["Round", "after_ingestion", "watch"]
