"""The command ``calanque dbt``: dbt for whoever changes models."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(
        rich_help_panel="The data", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )(dbt)


def dbt(
    context: typer.Context,
    verb: Annotated[str, typer.Argument(help="What dbt is to do: run, build, test, compile, show...")],
) -> None:
    """Run dbt on the newest quarter of this lake, in a database of its own; nothing of it is published.

    What follows goes to dbt as it is. Ends with the code that dbt ends with.

    Example: [bold]calanque dbt build -s tows_by_month[/]
    """
    from infra.settings import Settings
    from publication.builds import development

    folder, code = development.run(Settings(), verb, context.args)
    typer.echo(f"the database is {folder / 'build.duckdb'}; delete the folder when you are done", err=True)
    raise typer.Exit(code)
