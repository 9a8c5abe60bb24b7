"""Where a city's profile is, and the one thing that must be read from it at no cost: its time zone."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from infra.documents import DocumentError, read_toml
from infra.errors import ExpectedError
from infra.settings import Settings

PROFILES = Path(__file__).parents[1] / "cities"


class ProfileError(ExpectedError, ValueError):
    """A city profile, or a file it names, cannot be used; the message names the file, the key and the remedy."""


def profile_path(city: str) -> Path:
    """The file of a profile: a name in ``infra/cities``, or a path.

    Raises:
        ProfileError: there is no such file.
    """
    given = city.endswith(".toml") or "/" in city
    path = Path(city).expanduser().absolute() if given else PROFILES / f"{city}.toml"
    if not path.is_file():
        known = ", ".join(sorted(profile.stem for profile in PROFILES.glob("*.toml")))
        raise ProfileError(
            f"no city profile {path}: set CALANQUE_CITY to one of {known}, or to the path of a TOML file"
        )
    return path


def time_zone(settings: Settings) -> str:
    """The time zone of the city, without reading (or loading what reads) the rest of its profile.

    Raises:
        ProfileError: no such profile, or its time zone is none.
    """
    path = profile_path(settings.city)
    try:
        named = read_toml(path)["time_zone"]
        return ZoneInfo(named).key
    except DocumentError as error:
        raise ProfileError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, ZoneInfoNotFoundError):
        raise ProfileError(f"{path}: key time_zone: not the name of a time zone such as Europe/Paris") from None
