"""Commands that save a lake and bring one back: backup, restore, restored."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.settings import Settings

_PLACE = typer.Argument(help="The folder of this lake's backups; make it on another disk.", file_okay=False)
_KEYS = typer.Option("--keys", help="The folder that mirrors keys and the signing key; apart from the backups.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (backup, restore, restored):
        app.command(rich_help_panel="The lake")(command)


def backup(
    folder: Annotated[Path, _PLACE],
    keys: Annotated[Path, _KEYS],
    keep: Annotated[int, typer.Option("--keep", min=0, help="Forget backups that are older than so many days.")] = 7,
) -> None:
    """Save catalog, registry, ledger, marts and every object, while the lake works; copy only what is new.

    Deliveries that were read are left out, and a key goes from its mirror when it is destroyed:
    docs/operations/backup.md says why, and for how long what is kept.

    Example: [bold]calanque backup /mnt/backup/lake --keys /mnt/safe/lake-keys[/]
    """
    from infra.machines.backup import saving
    from infra.settings import Settings
    from publication.builds import building
    from publication.releases import release
    from stewardship.retention import job

    settings, began = Settings(), time.monotonic()
    saved = saving.backup(
        settings,
        folder,
        keys,
        locks=(job.LOCK, building.LOCK, release.LOCK),
        keep=timedelta(days=keep),
        report=lambda sentence: _say(settings, sentence),
    )
    typer.echo(
        f"Backup {saved.folder.name}: {saved.objects:,} objects, {saved.bytes / 1e6:,.1f} MB, {saved.copied:,} of them "
        f"new, {saved.living_keys} living keys apart; {saved.backups} kept, {saved.forgotten:,} objects forgotten "
        f"({time.monotonic() - began:.1f} s)"
    )
    changed = [f"{address} is never changed, and was: `calanque restore FOLDER --mend`" for address in saved.changed]
    for sentence in (*saved.wrong_keys, *changed):
        typer.secho(sentence, fg=typer.colors.RED, err=True)
    if saved.wrong_keys or changed:
        raise typer.Exit(1)


def restore(
    folder: Annotated[Path, _PLACE],
    keys: Annotated[Path | None, _KEYS] = None,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Which backup; the newest by default.")] = None,
    today: Annotated[
        datetime | None,
        typer.Option("--today", formats=["%Y-%m-%d"], help="Today's date, from a calendar; for a backup that is old."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only compute every checksum of the backup again.")] = False,
    mend: Annotated[
        bool, typer.Option("--mend", help="Only put back what is damaged of tables and releases, in a lake that works.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="With --mend: make again, from landing and releases, what no backup has.")
    ] = False,
) -> None:
    """Make an empty lake what another was: start it with [bold]calanque up --without-airflow[/] first.

    What ended its time since the backup was made is left out, and retention is run before the command ends.

    Example: [bold]CALANQUE_HOME=/srv/new calanque restore /mnt/backup/lake --keys /mnt/safe/lake-keys[/]
    """
    from infra.machines.backup import restoring
    from infra.settings import Settings
    from stewardship.retention import job

    settings, began = Settings(), time.monotonic()
    if check:
        _check(settings, folder, name)
        return
    if mend:
        _mend(settings, folder, rebuild=rebuild)
        return
    if keys is None:
        raise typer.BadParameter("a lake without its keys cannot go on: name their folder", param_hint="--keys")
    restored = restoring.restore(
        settings,
        folder,
        keys,
        name=name,
        today=today and today.date(),
        report=lambda sentence: _say(settings, sentence),
    )
    _say(settings, "holding the lake to its limits")
    outcome = job.run(settings, run_id=f"restore {restored.folder.name}")
    typer.echo(
        f"Backup {restored.folder.name} is restored: {restored.objects:,} objects, {restored.bytes / 1e6:,.1f} MB, "
        f"{restored.living_keys} living keys, {restored.over:,} objects left out ({time.monotonic() - began:.1f} s)"
    )
    typer.echo(
        "Next: `calanque ledger`, `calanque restored`, then `calanque up`. Erasures since the backup hold: repeat only "
        "those for which `calanque erase` said that the keys' mirror could not be reached."
    )
    if outcome.overdue or outcome.failures:
        for sentence in (*outcome.failures, *outcome.overdue):
            typer.secho(sentence, fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


def restored(
    nothing: Annotated[
        bool, typer.Option("--nothing-published", help="The lake before published nothing after the backup.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="How that is known, for whoever reads it later.")] = "",
) -> None:
    """Tell what waits because this lake was restored, and say that it may be published. Exits with 1 when any waits.

    A lake restored from a backup cannot know what the lake before published since. Published again, with other noise,
    it would tell more than was promised: so what had settled by the restore waits until somebody says that it was not
    published (docs/runbooks/lake-restored.md). It is for the data protection officer to say.

    Example: [bold]calanque restored --nothing-published --reason "the disk failed an hour after the backup"[/]
    """
    import getpass

    from infra.settings import Settings
    from publication.releases import restored as restorations

    settings = Settings()
    if nothing:
        if not reason.strip():
            raise typer.BadParameter("say in a few words how that is known", param_hint="--reason")
        who = f"{getpass.getuser()} (command line)"
        restorations.settle(settings, by=who, reason=" ".join(reason.split()))
    waiting = restorations.waiting(settings)
    for restoration in waiting:
        typer.echo(restorations.sentence(restoration))
    if waiting:
        raise typer.Exit(1)
    typer.echo("nothing waits because of a restore")


def _check(settings: Settings, folder: Path, name: str | None) -> None:
    from infra.machines.backup import restoring

    chosen = restoring.find(folder, name)
    wrong = list(restoring.check(settings, folder, chosen))
    for sentence in wrong:
        typer.secho(sentence, fg=typer.colors.RED, err=True)
    if wrong:
        raise typer.Exit(1)
    typer.echo(f"Backup {chosen.name} is complete, and every checksum is right.")


def _mend(settings: Settings, folder: Path, *, rebuild: bool) -> None:
    from infra.machines.backup import mending
    from ingestion.conformed import lost_files
    from publication.releases import renewing

    mended = mending.mend(settings, folder)
    for address in mended.done:
        typer.echo(f"{address}: put back")
    for sentence in (*mended.unreadable, *map(str, mended.lost)):
        typer.secho(f"{sentence}, and no backup has it", fg=typer.colors.RED, err=True)
    found = (lost_files.rebuild if rebuild else lost_files.touched)(settings, mended.lost)
    for each in found:
        typer.secho(f"{each.sentence}.", fg=typer.colors.YELLOW, err=True)
    if rebuild:
        for mart in renewing.renew(settings, {file.mart for file in mended.lost if file.mart}):
            typer.echo(f"{mart}: its table was made again from its release files")
    elif mended.lost:
        typer.echo("`--mend --rebuild` gives lost files up, and makes of landing and release files what they allow.")
    left = [file for file in mended.lost if not rebuild or file.is_release]
    if mended.unreadable or left or any(each.gone for each in found):
        typer.secho("See docs/operations/backup.md.", err=True)
        raise typer.Exit(1)
    typer.echo("Every table of the catalog and every release file can be read, and is what it was.")


def _say(settings: Settings, sentence: str) -> None:
    if not settings.quiet:
        print(f"{sentence} ...", file=sys.stderr)
