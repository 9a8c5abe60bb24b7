"""Errors that can be expected: their message is written for the person who reads it, and says what to do."""

from __future__ import annotations


class ExpectedError(Exception):
    """What an error is besides: the command line shows its message, and no traceback."""
