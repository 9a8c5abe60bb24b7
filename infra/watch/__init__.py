"""Everything that is looked at to warn people: a composition root, run by Airflow and by ``calanque watch``."""

from infra.watch.rounds import Round, watch

__all__ = ["Round", "watch"]
