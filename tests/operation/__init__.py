"""Drills of daily operation: what a month of it takes, and that a backfill comes to the same."""
