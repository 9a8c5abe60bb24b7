"""One place for configuration: environment variables prefixed ``CALANQUE_`` and the paths derived from them.

Nothing here touches the network or reads a secret, so it is safe to import anywhere, DAG parsing included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra import kept_store
from infra.kept_store import Store

PRIVATE = 0o077
"""The umask of every process of a lake: what it makes is for its owner only."""


class Settings(BaseSettings):
    """Where this lake lives and what it stands on.

    Every field is an environment variable: ``home`` is ``CALANQUE_HOME``. Two lakes with different homes share nothing.
    """

    model_config = SettingsConfigDict(env_prefix="CALANQUE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    home: Path = Field(default=Path("var"), description="State directory: data of embedded services, secrets, logs.")
    city: str = Field(default="marseille", description="City profile: a name in infra/cities or a path to a TOML file.")
    geo: Path | None = Field(default=None, description="GeoJSON of zone polygons; replaces the profile's demo cells.")

    object_store: Store | None = Field(
        default=None,
        description="seaweedfs, minio or external; see `store`. Default: minio when its program is there at the first "
        "`calanque up`, else seaweedfs; after that, what the home says.",
    )
    s3_endpoint: str | None = Field(default=None, description="http(s)://host:port of an external S3 endpoint.")
    s3_region: str = "us-east-1"

    postgres: Literal["embedded", "external"] = "embedded"
    postgres_host: str | None = Field(default=None, description="Host of an external PostgreSQL server.")
    postgres_port: int = 5432

    airflow_url: str | None = Field(
        default=None, description="http(s)://host:port of an Airflow that others start, such as containers."
    )

    drop: Path | None = Field(default=None, description="Drop folder, one sub-folder per silo. Default: home/drop.")
    keys: Path | None = Field(default=None, description="Key store, outside the lake. Default: home/keys.")
    keys_backend: str = Field(
        default="files", description="Where keys are kept: files, or module:factory of a store of one's own."
    )
    secrets: Path | None = Field(default=None, description="Secret files, one per name. Default: home/secrets.")

    drill: bool = Field(
        default=False,
        description="The first `calanque up` makes a drill, whose clock may be another; no lake becomes one later.",
    )
    now: AwareDatetime | None = Field(
        default=None, description="A frozen clock, of a drill only: an instant such as 2026-03-08T06:00:00+00:00."
    )
    now_file: Path | None = Field(
        default=None, description="A file that holds such an instant, read at every look: a clock that a drill moves."
    )

    clock_leap_days: int = Field(
        default=7,
        ge=1,
        description="A clock so many days from when the lake was last at work is not believed until a person says so.",
    )

    smtp_url: str | None = Field(
        default=None,
        repr=False,
        description="Mail server of warnings: smtp://[user[:password]@]host[:port] (STARTTLS when offered, and always "
        "before a login) or smtps://... The password may be the secret `smtp-password` instead.",
    )
    alert_from: str = Field(default="calanque@localhost", description="Sender of warnings.")
    alert_to: str = Field(default="", description="Who gets the warnings: addresses separated by commas.")
    alert_owners: Path | None = Field(
        default=None,
        description='TOML file of the addresses of owners, as warnings name them ("data-platform" = '
        '["it@example.org"]): what is theirs goes there instead.',
    )
    webhook_url: str | None = Field(
        default=None,
        repr=False,
        description="http(s) address that gets each warning as JSON; signed when the secret `webhook-key` exists.",
    )
    runbooks_url: str = Field(
        default="docs/runbooks", description="Where the runbooks are read: messages link to <this>/<kind>.md."
    )

    openlineage_url: str | None = Field(
        default=None, description="http(s) address of an OpenLineage backend; each lineage event is sent there as well."
    )
    openlineage_namespace: str = Field(default="calanque", description="Namespace of this lake's jobs in its events.")
    otlp_endpoint: str | None = Field(
        default=None, description="http(s) address that takes Airflow's metrics by OTLP: .../v1/metrics is added to it."
    )

    quiet: bool = Field(default=False, description="No progress bars; for CI and logs.")

    @field_validator("home", "geo", "drop", "keys", "secrets", "now_file", "alert_owners")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None

    @field_validator("home")
    @classmethod
    def _home_is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    def environment(self) -> dict[str, str]:
        """These settings as the environment variables of another process."""
        return {
            f"{self.model_config['env_prefix']}{name.upper()}": str(value)
            for name, value in self.model_dump().items()
            if value is not None
        }

    @property
    def store(self) -> Store:
        """The object store of this lake: the one asked for, else the one its home was started with, or would be."""
        return self.object_store or kept_store.of(self.home)

    @property
    def is_started_by_others(self) -> bool:
        """Whether ``calanque up`` has nothing to start: store, database and Airflow have addresses."""
        return self.store == self.postgres == "external" and self.airflow_url is not None

    @property
    def drop_dir(self) -> Path:
        return self.drop or self.home.absolute() / "drop"

    @property
    def keys_dir(self) -> Path:
        return self.keys or self.home.absolute() / "keys"

    @property
    def secrets_dir(self) -> Path:
        return self.secrets or self.home.absolute() / "secrets"

    @property
    def drill_mark(self) -> Path:
        """Is there when the lake was made as a drill."""
        return self.home.absolute() / "drill"

    @property
    def data_dir(self) -> Path:
        """Data of the embedded services."""
        return self.home.absolute() / "data"

    @property
    def work_dir(self) -> Path:
        """Scratch space of runs; safe to delete when nothing runs."""
        return self.home.absolute() / "work"

    @property
    def logs_dir(self) -> Path:
        return self.home.absolute() / "logs"

    @property
    def lineage_dir(self) -> Path:
        """Lineage events, one file a day."""
        return self.home.absolute() / "lineage"

    @property
    def run_dir(self) -> Path:
        """Ports, sockets and process ids of the running services."""
        return self.home.absolute() / "run"
