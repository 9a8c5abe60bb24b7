"""Warnings that reach people: deduplicated in the registry, sent by e-mail and webhook."""

from stewardship.alerts.book import history, standing
from stewardship.alerts.model import KINDS, Alert, BrokenRule, Episode, Kind
from stewardship.alerts.sending import Sent, raise_alert, resolve_alert, send_pending, settle

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
