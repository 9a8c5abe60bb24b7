"""Whose address is whose: owners of silos, DAGs and marts, as warnings name them, and everybody else."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from infra.documents import DocumentError, read_toml
from infra.settings import Settings

_log = logging.getLogger(__name__)

_OWNERS: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


class PeopleError(ValueError):
    """The file of CALANQUE_ALERT_OWNERS cannot be used; the message says why."""


@dataclass(frozen=True)
class People:
    """``everybody`` gets what no owner's address is known for."""

    everybody: tuple[str, ...]
    by_owner: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, owner: str) -> tuple[str, ...]:
        """The addresses of an owner."""
        return self.by_owner.get(owner) or self.everybody


def load(settings: Settings) -> People:
    """The addresses as the settings say them. A file that cannot be used is logged, and everybody gets everything."""
    everybody = tuple(address.strip() for address in settings.alert_to.split(",") if address.strip())
    try:
        return People(everybody, read(settings))
    except PeopleError as wrong:
        _log.error("%s; every warning goes to CALANQUE_ALERT_TO", wrong)
        return People(everybody)


def read(settings: Settings) -> dict[str, tuple[str, ...]]:
    """By owner, the addresses that the file gives; none without a file.

    Raises:
        PeopleError: it is not there, or is not TOML of the form ``"owner" = ["address", ...]``.
    """
    if settings.alert_owners is None:
        return {}
    what = "the file of CALANQUE_ALERT_OWNERS"
    try:
        given = _OWNERS.validate_python(read_toml(settings.alert_owners), strict=True)
    except DocumentError as error:
        raise PeopleError(f"{what} is not used: {error}") from None
    except ValidationError:
        raise PeopleError(f'{what} is to have lines such as "data-platform" = ["it@example.org"]') from None
    return {owner: tuple(addresses) for owner, addresses in given.items()}
