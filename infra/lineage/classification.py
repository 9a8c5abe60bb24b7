"""What a column can tell about a person: the classes that the register gives to every column it reads or keeps.

The words are those of GDPR art. 4 and of ISO/IEC 20889 and 27559 on de-identification; docs/glossary.md explains them.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum


class Classification(StrEnum):
    """The classes, from the most to the least telling. Only ``PUBLIC`` columns may reach a mart as they are."""

    IDENTIFIER = "identifier"
    """Singles out a person, a vehicle or a record by itself: a plate, a file number."""

    PSEUDONYM = "pseudonym"
    """Stands for an identifier under a key: whoever holds the key can go back. Still personal data."""

    QUASI_IDENTIFIER = "quasi_identifier"
    """Narrows down who it was when put together with others: an instant, a place."""

    SENSITIVE = "sensitive"
    """What one would learn about somebody once found: an offence, the reason of a removal."""

    STATISTIC = "statistic"
    """A count of people that the sender made, and what tells its groups apart; it may tell of somebody when small."""

    PROVENANCE = "provenance"
    """Where a row came from: its delivery, its number in it. Leads back to the record while the delivery is kept."""

    PUBLIC = "public"
    """Says nothing of anybody: a place's name, a vocabulary, a calendar."""

    @property
    def is_public(self) -> bool:
        return self is Classification.PUBLIC


COUNTS = frozenset({Classification.STATISTIC, Classification.PROVENANCE})
"""What is no person's own, though not public either."""


def most_telling(classes: Collection[Classification]) -> Classification:
    """The class that tells most, of several; of none, public."""
    return next((each for each in Classification if each in classes), Classification.PUBLIC)
