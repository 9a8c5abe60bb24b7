"""The command line ``calanque``: one module per family of commands, each adding its own to one application.

Modules import what they need inside their commands, so that ``calanque --help`` answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from calanque.cli.commands import (
    backfill,
    backup,
    contracts,
    covering,
    dbt,
    demo,
    ledger,
    pipeline,
    retention,
    services,
    signals,
    site,
    stewardship,
    timekeeping,
    watching,
)
from infra.endpoints import beside_proxies
from infra.settings import PRIVATE

app = typer.Typer(
    name="calanque",
    help=(
        "Calanque: an open data lakehouse for city safety data.\n\n"
        "Start a lake with [bold]calanque up[/], deliver files with [bold]calanque drop[/], and let Airflow do the "
        "rest (or [bold]calanque run[/], which does the same work at once). [bold]calanque report[/] tells what became "
        "of every row; [bold]calanque env[/] how to query the result.\n\n"
        "A lake lives in one folder, CALANQUE_HOME (default: ./var); two folders are two lakes side by side."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
services.register(app)
pipeline.register(app)
backfill.register(app)
ledger.register(app)
retention.register(app)
backup.register(app)
timekeeping.register(app)
watching.register(app)
stewardship.register(app)
contracts.register(app)
covering.register(app)
signals.register(app)
site.register(app)
dbt.register(app)
demo.register(app)


def main() -> None:
    """Run the command line; what can be expected to go wrong ends in a sentence, anything else in a traceback."""
    os.environ.update(beside_proxies(os.environ))
    os.umask(PRIVATE)
    try:
        app()
    except Exception as failure:
        from infra.transient import explained

        sentence = str(failure) if _is_expected(failure) else explained(failure)
        if sentence is None:
            raise
        typer.secho(sentence, fg=typer.colors.RED, err=True)
        sys.exit(1)


def _is_expected(failure: Exception) -> bool:
    """Whether the message of this exception is written for the person at the terminal."""
    from pydantic import ValidationError

    from infra.errors import ExpectedError

    return isinstance(failure, ExpectedError | ValidationError)
