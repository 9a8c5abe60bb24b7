"""Backups of a lake, and a lake from a backup: docs/operations/backup.md says what is in one and for how long."""
