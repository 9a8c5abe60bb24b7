"""Warnings that reach people: deduplicated in the registry, sent by e-mail and webhook."""

from infra.alerts.book import history, standing
from infra.alerts.model import KINDS, Alert, BrokenRule, Episode, Kind
from infra.alerts.sending import Sent, raise_alert, resolve_alert, send_pending, settle

__all__ = [
    "KINDS",
    "Alert",
    "BrokenRule",
    "Episode",
    "Kind",
    "Sent",
    "history",
    "raise_alert",
    "resolve_alert",
    "send_pending",
    "settle",
    "standing",
]
