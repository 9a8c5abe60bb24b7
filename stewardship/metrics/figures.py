"""The figures of a lake as it is now, read as role ``steward``, which may look at registry, ledger and receipts only.

Labels are names of the register, the privacy plan and our own rules: their number does not grow with the data, and none
names a file, a place or a person. Times are seconds since the epoch, so that an age is ``time()`` minus one of them.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import certifi
import psutil
import urllib3
from minio import Minio
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from psycopg.rows import dict_row

from infra import database, endpoints, object_store, registry
from infra.calendar import clock
from infra.settings import Settings
from ingestion.delivery import arrivals
from ingestion.register import silos
from privacy.plan import plan

ROLE = "steward"
STATUSES = ("landed", "committed", "refused", "parked")

_SECONDS = 5
_RECEIPTS = "receipts"

Row = Mapping[str, Any]


def collect(settings: Settings) -> list[Metric]:
    """Every figure, as of now. What cannot be asked is not there, and its component is not up: never an old figure."""
    health = _Health()
    found: list[Metric] = []
    for component, look in _COMPONENTS.items():
        if component != "airflow" or _has_airflow(settings):
            found += health.of(component, look, settings)
    return [*health.metrics(), *found]


class _Health:
    """Which components answered, and how long each took."""

    def __init__(self) -> None:
        self._up = GaugeMetricFamily("calanque_up", "Whether a component does its work.", labels=["component"])
        self._seconds = GaugeMetricFamily(
            "calanque_answer_seconds", "How long a component took to answer.", labels=["component"]
        )

    def of(
        self, component: str, look: Callable[[Settings, GaugeMetricFamily], Iterable[Metric]], settings: Settings
    ) -> list[Metric]:
        began = time.perf_counter()
        try:
            found = list(look(settings, self._up))
        except Exception:  # whatever it is: the component does not do its work
            self._up.add_metric([component], 0)
            return []
        self._up.add_metric([component], 1)
        self._seconds.add_metric([component], time.perf_counter() - began)
        return found

    def metrics(self) -> list[Metric]:
        return [self._up, self._seconds]


# --- registry and ledger ---------------------------------------------------------------------------------------------

_DELIVERIES = """
select
    silo,
    status,
    count(*) as deliveries,
    sum(bytes) as bytes,
    sum(rows_in) as rows_in,
    sum(accepted) as accepted,
    sum(quarantined) as quarantined,
    extract(epoch from max(landed_at)) as landed_at,
    extract(epoch from min(landed_at)) as first_landed_at,
    coalesce(sum(extract(epoch from settled_at - landed_at)), 0) as waited,
    count(settled_at) as settled
from registry.delivery
group by silo, status
"""

_RULES = """
select silo, 'error' as severity, rule, sum(rows::bigint) as rows
from registry.delivery, jsonb_each_text(by_rule) as rules (rule, rows)
group by silo, rule
union all
select silo, 'warning', rule, sum(rows::bigint)
from registry.delivery, jsonb_each_text(warnings) as rules (rule, rows)
group by silo, rule
"""

_COMMITS = """
select silo, count(*) as commits, extract(epoch from max(committed_at)) as committed_at
from registry.commit
group by silo
"""

_RELEASES = """
select distinct on (mart)
    mart, version, rows, extract(epoch from released_at) as released_at,
    extract(epoch from period_end::timestamptz) as period_end
from registry.release
where status = 'released'
order by mart, version desc
"""

_MARTS = """
select mart, (held_because is not null)::int as held from registry.mart
"""

_UNITS = """
select mart, count(*) as units, sum(late_rows) as late_rows from registry.unit group by mart
"""

_SINGLES = """
select
    (select count(*) from registry.release where status = 'prepared') as prepared,
    (select count(*) from ledger.line) as ledger_lines,
    (select count(*) from pg_locks where not granted) as waiting_locks,
    pg_database_size(current_database()) as database_bytes,
    exists (
        select from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'iceberg' and relname = 'iceberg_tables'
    )::int as catalog
"""

_ALERTS = """
select kind, count(*) as alerts from registry.alert where resolved_at is null group by kind
"""


def _registry(settings: Settings, up: GaugeMetricFamily) -> Iterator[Metric]:
    with closing(database.connect(settings, ROLE, "lake", autocommit=True)) as connection:
        connection.execute(f"set statement_timeout = '{_SECONDS}s'")
        covered = registry.covered_days(connection, list(silos()))
        with connection.cursor(row_factory=dict_row) as cursor:
            deliveries = cursor.execute(_DELIVERIES).fetchall()
            rules = cursor.execute(_RULES).fetchall()
            commits = {row["silo"]: row for row in cursor.execute(_COMMITS)}
            releases = {row["mart"]: row for row in cursor.execute(_RELEASES)}
            marts = {row["mart"]: row for row in cursor.execute(_MARTS)}
            units = {row["mart"]: row for row in cursor.execute(_UNITS)}
            alerts = {row["kind"]: row for row in cursor.execute(_ALERTS)}
            singles = cursor.execute(_SINGLES).fetchone() or {}
    names = sorted({*silos(), *(row["silo"] for row in deliveries)})
    up.add_metric(["catalog"], singles["catalog"])
    yield from _of_deliveries(names, deliveries)
    yield from _of_rules(rules)
    yield _gauge(
        "calanque_last_commit_timestamp_seconds",
        "When rows of a silo last changed.",
        "silo",
        {name: row["committed_at"] for name, row in commits.items()},
    )
    yield _gauge(
        "calanque_newest_day_timestamp_seconds",
        "The newest day that a silo was declared complete for.",
        "silo",
        {name: datetime(*max(days).timetuple()[:3], tzinfo=UTC).timestamp() for name, days in covered.items() if days},
    )
    yield _gauge(
        "calanque_freshness_limit_seconds",
        "How old the newest delivery of a silo may be, as the register says.",
        "silo",
        {name: silo.freshness.total_seconds() for name, silo in silos().items()},
    )
    yield from _of_marts(sorted({*plan().marts, *releases}), releases, marts, units)
    yield _gauge(
        "calanque_alerts",
        "Warnings that stand, by kind.",
        "kind",
        {kind: row["alerts"] for kind, row in alerts.items()},
    )
    for name, help_text, value in (
        ("calanque_unfinished_releases", "Versions prepared and not out yet.", "prepared"),
        ("calanque_ledger_lines", "Lines of the ledger.", "ledger_lines"),
        ("calanque_waiting_locks", "Sessions of the database that wait for a lock.", "waiting_locks"),
        ("calanque_database_bytes", "Size of the database of registry, catalog and ledger.", "database_bytes"),
    ):
        yield GaugeMetricFamily(name, help_text, value=singles[value])


def _of_deliveries(names: list[str], rows: list[dict[str, Any]]) -> Iterator[Metric]:
    def total(silo: str, column: str) -> float:
        return float(sum(row[column] for row in rows if row["silo"] == silo))

    deliveries = GaugeMetricFamily(
        "calanque_deliveries", "Deliveries, by what became of them.", labels=["silo", "status"]
    )
    for name in names:
        counts = {row["status"]: row["deliveries"] for row in rows if row["silo"] == name}
        for status in STATUSES:
            deliveries.add_metric([name, status], counts.get(status, 0))
    yield deliveries
    for metric, help_text, column in (
        ("calanque_delivered_bytes", "Bytes delivered.", "bytes"),
        ("calanque_rows_in", "Rows delivered.", "rows_in"),
        ("calanque_rows_accepted", "Rows accepted.", "accepted"),
        ("calanque_rows_quarantined", "Rows quarantined.", "quarantined"),
    ):
        counter = CounterMetricFamily(metric, help_text, labels=["silo"])
        for name in names:
            counter.add_metric([name], total(name, column))
        yield counter
    waited = SummaryMetricFamily(
        "calanque_settling_seconds", "From landing to what became of a delivery.", labels=["silo"]
    )
    for name in names:
        waited.add_metric([name], count_value=int(total(name, "settled")), sum_value=total(name, "waited"))
    yield waited
    newest: dict[str, float] = {}
    for row in rows:
        newest[row["silo"]] = max(newest.get(row["silo"], 0.0), float(row["landed_at"]))
    yield _gauge("calanque_last_delivery_timestamp_seconds", "When a silo last delivered anything.", "silo", newest)
    yield _gauge(
        "calanque_oldest_waiting_timestamp_seconds",
        "When the oldest delivery landed that is not settled yet.",
        "silo",
        {row["silo"]: row["first_landed_at"] for row in rows if row["status"] == "landed"},
    )


def _of_rules(rows: list[dict[str, Any]]) -> Iterator[Metric]:
    counter = CounterMetricFamily(
        "calanque_rows_by_rule",
        "Rows that broke a rule: quarantined (error) or accepted all the same (warning).",
        labels=["silo", "rule", "severity"],
    )
    for row in rows:
        counter.add_metric([row["silo"], row["rule"], row["severity"]], float(row["rows"]))
    yield counter


def _of_marts(
    names: list[str], releases: Mapping[str, Row], marts: Mapping[str, Row], units: Mapping[str, Row]
) -> Iterator[Metric]:
    for metric, help_text, rows, column in (
        ("calanque_release_version", "The version of a mart that is out; 0 when none is.", releases, "version"),
        ("calanque_release_rows", "Rows of the version that is out.", releases, "rows"),
        ("calanque_mart_held", "Whether the newest build of a mart was held back.", marts, "held"),
        ("calanque_published_periods", "Periods of a mart that are published.", units, "units"),
        ("calanque_late_rows", "Rows that came after their period was published.", units, "late_rows"),
    ):
        yield _gauge(metric, help_text, "mart", {name: rows[name][column] if name in rows else 0 for name in names})
    for metric, help_text, column in (
        ("calanque_release_timestamp_seconds", "When the version of a mart that is out came out.", "released_at"),
        ("calanque_release_period_end_timestamp_seconds", "The last day of the last period that is out.", "period_end"),
    ):
        known = {name: row[column] for name, row in releases.items() if row[column] is not None}
        yield _gauge(metric, help_text, "mart", known)


# --- the other components --------------------------------------------------------------------------------------------


def _store(settings: Settings, _: GaugeMetricFamily) -> Iterator[Metric]:
    """The store answers a listing; the newest receipt of retention says when it last ran, and what was left."""
    store = _quick_client(settings)
    next(store.list_objects(_RECEIPTS, prefix="retention/"), None)
    run = _last_retention(settings, store)
    if run is not None:
        at = datetime.fromisoformat(run["at"]).timestamp()
        yield GaugeMetricFamily("calanque_retention_timestamp_seconds", "When retention last ran.", value=at)
        overdue = len(run.get("overdue", ())) + len(run.get("failures", ()))
        yield GaugeMetricFamily(
            "calanque_retention_overdue", "What retention left past its limit, or could not clean.", value=overdue
        )


def _last_retention(settings: Settings, store: Minio) -> dict[str, Any] | None:
    """The last run of the newest receipt of this month or the one before."""
    today = clock.now(settings).date()
    for month in (today, clock.add_months(today.replace(day=1), -1)):
        keys = list(object_store.list_keys(store, _RECEIPTS, f"retention/{month:%Y-%m}"))
        if keys:
            runs = object_store.get_json(store, _RECEIPTS, keys[-1])["runs"]
            return dict(runs[-1]) if runs else None
    return None


def _quick_client(settings: Settings) -> Minio:
    """A client that says soon, and does not try again, that a store is away."""
    access_key, secret_key = object_store.credentials(settings, ROLE)
    at = object_store.endpoint(settings)
    return Minio(
        at.address,
        access_key=access_key,
        secret_key=secret_key,
        secure=at.secure,
        region=at.region,
        http_client=urllib3.PoolManager(
            timeout=_SECONDS, retries=False, cert_reqs="CERT_REQUIRED", ca_certs=certifi.where()
        ),
    )


def _has_airflow(settings: Settings) -> bool:
    """Whether this lake was started with Airflow: one that was not misses nothing."""
    try:
        return endpoints.load(settings).airflow_url is not None
    except endpoints.NotRunning:
        return False


def _airflow(settings: Settings, up: GaugeMetricFamily) -> Iterator[Metric]:
    """What Airflow's API server says of its parts, to anybody."""
    url = endpoints.load(settings).airflow_url
    with urllib.request.urlopen(f"{url}/api/v2/monitor/health", timeout=_SECONDS) as answer:  # noqa: S310 - our own
        parts = json.load(answer)
    for part in ("metadatabase", "scheduler", "dag_processor", "triggerer"):
        state = (parts.get(part) or {}).get("status")
        up.add_metric([f"airflow-{part.replace('_', '-')}"], 1 if state == "healthy" else 0)
    return iter(())


def _disk(settings: Settings, _: GaugeMetricFamily) -> Iterator[Metric]:
    found = psutil.disk_usage(str(settings.home))
    yield GaugeMetricFamily("calanque_disk_bytes", "Size of the disk that the lake is on.", value=found.total)
    yield GaugeMetricFamily("calanque_disk_free_bytes", "Free space on it.", value=found.free)


def _drop(settings: Settings, _: GaugeMetricFamily) -> Iterator[Metric]:
    """What waits in the drop folders."""
    waiting = {name: arrivals.waiting(settings.drop_dir / name) for name in silos()}
    yield _gauge(
        "calanque_drop_files", "Files in the drop folder.", "silo", {name: len(each) for name, each in waiting.items()}
    )
    yield _gauge(
        "calanque_drop_oldest_timestamp_seconds",
        "When the oldest file in the drop folder arrived.",
        "silo",
        {name: each[0].changed_ns / 1e9 for name, each in waiting.items() if each},
    )


_COMPONENTS: Mapping[str, Callable[[Settings, GaugeMetricFamily], Iterable[Metric]]] = {
    "postgres": _registry,
    "store": _store,
    "airflow": _airflow,
    "disk": _disk,
    "drop": _drop,
}


def _gauge(name: str, help_text: str, label: str, values: Mapping[str, Any]) -> Metric:
    metric = GaugeMetricFamily(name, help_text, labels=[label])
    for value, figure in sorted(values.items()):
        metric.add_metric([value], float(figure))
    return metric
