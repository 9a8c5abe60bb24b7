"""Who looks and decides: steward site, watch and alerts, approvals, quarantine review, retention, erasure."""
