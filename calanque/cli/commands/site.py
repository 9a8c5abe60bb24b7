"""Commands about the steward site: build it here, publish it, bring the published one here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.settings import Settings

site = typer.Typer(
    name="site",
    help="The steward site: what each silo and each published table is, for people. In English and French.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Reader(StrEnum):
    """Who reads the site, and so which edition."""

    ANALYST = "analyst"
    STEWARD = "steward"


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(site, rich_help_panel="The data")


@site.command()
def build(
    to: Annotated[Path, typer.Option("--to", help="The folder to build into.")] = Path("var/docs"),
) -> None:
    """Build both editions into a folder, to read without a server. Works without a lake; with one, it has its figures.

    The folder [bold]site[/] is for everybody; [bold]stewards[/] has exact figures of deliveries.
    """
    from infra.settings import Settings
    from stewardship.site import making

    settings = Settings()
    for built in making.make(settings, to, report=_tell(settings)):
        typer.echo(f"open {built.folder / 'index.html'}")


@site.command()
def publish() -> None:
    """Build both editions and publish them in bucket docs, as Airflow does after each release and once a day."""
    from infra.settings import Settings
    from stewardship.site import making

    settings = Settings()
    for published in making.make_and_publish(settings, report=_tell(settings)):
        what = "published" if published.is_new else "already published"
        typer.echo(f"{published.edition}: {what} as {published.version}, {published.files} files")


@site.command()
def copy(
    folder: Annotated[Path, typer.Argument(help="Where to put it; a new or empty folder.")],
    reader: Annotated[Reader, typer.Option("--as", help="As whom to read: analyst or steward.")] = Reader.ANALYST,
) -> None:
    """Bring the published site here, to read it without a server."""
    from infra.settings import Settings
    from stewardship.site import publish as publishing

    try:
        version = publishing.copy(Settings(), reader.value, folder)
    except (publishing.NoSiteError, FileExistsError) as reason:
        typer.secho(str(reason), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    typer.echo(f"version {version}: open {folder / 'index.html'}")


def _tell(settings: Settings) -> Callable[[str], None]:
    def tell(sentence: str) -> None:
        if not settings.quiet:
            print(sentence, file=sys.stderr)

    return tell
