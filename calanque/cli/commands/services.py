"""Commands that start, stop and look at a lake: up, down, status, env, doctor."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from infra.machines.airflow.access import ACCOUNTS, SECRET

_JSON = typer.Option("--json", help="Print JSON for a program to read.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (up, down, status, env, doctor, secrets):
        app.command(rich_help_panel="The lake")(command)


def up(
    without_airflow: Annotated[
        bool,
        typer.Option("--without-airflow", help="Object store and PostgreSQL only: enough for `calanque run`."),
    ] = False,
) -> None:
    """Start the lake: object store, PostgreSQL and Airflow, on free loopback ports.

    The first time it also generates every secret (in CALANQUE_HOME/secrets), and creates buckets, databases and roles.
    Run it again at any time: it starts what is not running, and cleans up after a crash.

    Example: [bold]CALANQUE_HOME=/srv/calanque calanque up[/]
    """
    from infra.progress import Progress
    from infra.settings import Settings

    settings = Settings()
    with Progress(quiet=settings.quiet) as progress:
        progress.wait(f"looking at the lake in {settings.home}")
        from infra.calendar import trusted_clock
        from infra.machines.services import lake

        at = lake.up(settings, airflow=not without_airflow, report=progress)
    typer.echo(f"The lake in {settings.home} is up.")
    if at.airflow_url:
        from infra import secrets
        from infra.machines.airflow import servers as airflow

        typer.echo(
            f"Airflow: {at.airflow_url} (user {airflow.USER}, password in {secrets.path(settings, airflow.PASSWORD)})"
        )
    typer.echo('To query it: eval "$(calanque env)"; to stop it: calanque down')
    for why in trusted_clock.doubts(settings, "pipeline"):
        typer.secho(f"The clock is not believed: {why}. See `calanque clock --help`.", fg=typer.colors.YELLOW, err=True)


def down() -> None:
    """Stop the lake, and whatever is left of one that was killed. Nothing is lost: `calanque up` brings it back."""
    from infra.progress import Progress
    from infra.settings import Settings

    settings = Settings()
    with Progress(quiet=settings.quiet) as progress:
        progress.wait(f"stopping the lake in {settings.home}")
        from infra.machines.services import lake

        stopped = lake.down(settings, report=progress)
    typer.echo(f"The lake in {settings.home} is down." if stopped else f"No lake was running in {settings.home}.")


def status(as_json: Annotated[bool, _JSON] = False) -> None:
    """Tell what runs, on which ports, and where its log is. Exits with 1 unless everything is up.

    With [bold]--json[/]: {"home", "city", "up", "endpoints": {...}, "services": [{"name", "state", "pid", "detail",
    "ports", "log"}]}, where state is up, starting, failing, down, unknown (the server that tells of it is not up), or
    off (Airflow, in a lake started without it).
    """
    from infra import endpoints
    from infra.machines.services import lake
    from infra.settings import Settings

    settings = Settings()
    found = lake.status(settings)
    all_up = bool(found) and all(service.state in {"up", "off"} for service in found)
    try:
        at = endpoints.load(settings).model_dump()
    except endpoints.NotRunning:
        at = {}
    if as_json:
        answer = {"home": str(settings.home), "city": settings.city, "up": all_up, "endpoints": at}
        typer.echo(json.dumps({**answer, "services": [asdict(service) for service in found]}, indent=2))
    elif not found:
        typer.echo(f"No lake has been started in {settings.home} yet: `calanque up` starts one.")
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("service", "state", "pid", "ports", "detail", title=f"Lake in {settings.home}")
        colours = {"up": "green", "starting": "yellow", "failing": "red", "down": "red", "unknown": "yellow"}
        for service in found:
            table.add_row(
                service.name,
                f"[{colours.get(service.state, 'dim')}]{service.state}[/]",
                str(service.pid or ""),
                " ".join(map(str, service.ports)),
                service.detail if service.state in {"up", "off"} else f"{service.detail} (log: {service.log})",
            )
        Console().print(table)
    raise typer.Exit(0 if all_up else 1)


def env(
    login: Annotated[
        str | None,
        typer.Option("--as", metavar="LOGIN", help=f"Also a login of Airflow: {', '.join(ACCOUNTS)}."),
    ] = None,
) -> None:
    """Print shell exports for programs that read the lake, all as the read-only role analyst.

    CALANQUE_BI_URI is PostgreSQL with the marts; the AWS_* variables let any S3 client read the same releases as
    Parquet and Iceberg. They hold passwords: evaluate them, do not paste them. A login of Airflow is among them
    only when it is asked for by name.

    Example: [bold]eval "$(calanque env)"; psql "$CALANQUE_BI_URI" -c 'table marts.fines_by_day limit 5'[/]
    """
    from infra import database, endpoints, object_store, secrets
    from infra.settings import Settings

    if login is not None and login not in ACCOUNTS:
        raise typer.BadParameter(f"there is no login {login!r}; there are: {', '.join(ACCOUNTS)}", param_hint="--as")
    settings = Settings()
    at = endpoints.load(settings)
    access_key, secret_key = object_store.credentials(settings, "analyst")
    exports = {
        "CALANQUE_HOME": str(settings.home),
        "CALANQUE_CITY": settings.city,
        "CALANQUE_BI_URI": database.uri(settings, "analyst", "bi"),
        "CALANQUE_S3_ENDPOINT": at.s3_url,
        "AWS_ENDPOINT_URL_S3": at.s3_url,
        "AWS_REGION": settings.s3_region,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }
    if at.airflow_url:
        exports["CALANQUE_AIRFLOW_URL"] = at.airflow_url
    if at.airflow_url and login is not None:
        password = secrets.read(settings, f"{SECRET}{login}")
        exports |= {"CALANQUE_AIRFLOW_USER": login, "CALANQUE_AIRFLOW_PASSWORD": password}
    for name, value in exports.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def doctor(as_json: Annotated[bool, _JSON] = False) -> None:
    """Check everything the lake needs, and say what to do about whatever is wrong. Exits with 1 if anything is."""
    from calanque.cli.commands.diagnosis import examine
    from infra import database
    from infra.settings import Settings

    with database.waiting_at_most(5):  # who keeps a table from everybody is told, not waited for
        findings = list(examine(Settings()))
    failed = any(finding.verdict == "fail" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"healthy": not failed, "findings": [asdict(found) for found in findings]}, indent=2))
    else:
        from rich.console import Console
        from rich.table import Table

        marks = {"ok": "[green]ok[/]", "warn": "[yellow]look[/]", "fail": "[red]wrong[/]"}
        table = Table("", "check", "found, and what to do")
        for found in findings:
            remedy = f"\n[bold]{found.remedy}[/]" if found.remedy else ""
            table.add_row(marks[found.verdict], found.check, f"{found.detail}{remedy}")
        Console().print(table)
    raise typer.Exit(1 if failed else 0)


def secrets() -> None:
    """Generate every secret that does not exist yet, each a file of mode 0600, and start nothing.

    For services that others start, such as containers; `calanque up` does it by itself. The credentials of external
    services are not invented: put them there first.
    """
    from infra.machines.services import lake
    from infra.secrets import read_or_generate
    from infra.settings import Settings

    settings = Settings()
    lake.generate_secrets(settings)
    read_or_generate(settings, lake.BROKER)
    typer.echo(f"Every secret is in {settings.secrets_dir}.")
