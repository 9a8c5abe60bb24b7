"""Warnings that reach people: deduplicated in the registry, sent by e-mail and webhook."""

from infra.alerts.model import KINDS, Alert, BrokenRule, Episode, Kind
from infra.alerts.sending import Sent, raise_alert, resolve_alert, send_pending, settle

__all__ = [
    "KINDS",
    "Alert",
    "BrokenRule",
    "Episode",
    "Kind",
    "Sent",
    "raise_alert",
    "resolve_alert",
    "send_pending",
    "settle",
]
