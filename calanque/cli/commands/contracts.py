"""Commands about contracts: what changed, write a version down, have one put in force."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from infra.contract_versions import Document

contract = typer.Typer(
    name="contract",
    help="The contracts of datasets and marts, and their versions.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(contract, rich_help_panel="What stewards decide")


def documents() -> list[Document]:
    """Every contract as the code has it now: datasets, then marts."""
    from ingestion.contracts.silo_documents import of_register
    from publication.releases.mart_documents import of_marts

    return [*of_register(), *of_marts()]


@contract.command()
def diff(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False) -> None:
    """Say what changed since the last committed version of each contract, and which version that needs.

    Exits with 1 when a contract and its version do not go together. With [bold]--json[/]: [{"kind", "name",
    "committed", "version", "changes": [{"level", "sentence"}], "problems"}].
    """
    from infra import contract_versions

    found: list[dict[str, Any]] = []
    for document in documents():
        history = contract_versions.committed(document.kind, document.name)
        changes = contract_versions.changes(history[-1], document) if history else []
        found.append(
            {
                "kind": document.kind,
                "name": document.name,
                "committed": history[-1].version if history else None,
                "version": document.version,
                "changes": [{"level": change.level.name.lower(), "sentence": change.sentence} for change in changes],
                "problems": contract_versions.problems(document),
            }
        )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for each in found:
            for change in each["changes"]:
                typer.echo(f"{each['kind']} {each['name']}: {change['level']}: {change['sentence']}")
            for problem in each["problems"]:
                typer.secho(problem, fg=typer.colors.RED, err=True)
        typer.echo(f"{len(found)} contracts, {sum(bool(each['changes']) for each in found)} changed")
    raise typer.Exit(1 if any(each["problems"] for each in found) else 0)


@contract.command()
def freeze() -> None:
    """Write every new version of a contract to docs/contracts, and dbt's sources, to be committed with the change."""
    from infra import contract_versions
    from ingestion.contracts import dbt_sources

    written = 0
    for path, text in dbt_sources.files():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)  # of a new silo
            path.write_text(text)
            written += 1
            typer.echo(f"sources of {path.parent.name}")
    for document in documents():
        if contract_versions.freeze(document) is not None:
            written += 1
            typer.echo(f"{document.kind} {document.name} {document.version}")
    typer.echo(f"{written} written")


@contract.command()
def approve(
    dataset: Annotated[str, typer.Argument(help="The dataset whose major version is to be in force.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in a sentence: it is kept for years.")],
    login: Annotated[
        str | None, typer.Option("--as", metavar="LOGIN", help="The Airflow login of who asks; admin by default.")
    ] = None,
) -> None:
    """Have a major version of a contract put in force.

    In a lake that runs with Airflow this asks a steward, who approves or refuses under Required Actions (DAG
    change_contract): nothing is done before. Ask with [bold]--as[/] your own login, so that it says who asked. Without
    Airflow it is done at once, and recorded as decided by whoever ran the command.

    Example: [bold]calanque contract approve tows --reason "the pound's new register"[/]
    """
    from calanque.cli import steward_requests
    from infra.settings import Settings
    from ingestion.contracts.silo_documents import named
    from stewardship.approvals import carry_out_contract, propose_contract, subject_of

    settings = Settings()
    try:
        document = named(dataset)
    except KeyError as unknown:
        raise typer.BadParameter(str(unknown.args[0])) from None
    typer.echo(propose_contract(settings, document, reason))
    if steward_requests.has_airflow(settings):
        at = steward_requests.ask(settings, "change_contract", {"dataset": dataset, "reason": reason}, login)
        typer.echo(f"a steward has to approve version {document.version} of the contract of {dataset}: {at}")
        return
    approval = steward_requests.decided_here(settings, "contract", subject_of(document), reason)
    carry_out_contract(settings, approval, document)
    typer.echo(f"version {document.version} of the contract of {dataset} is in force")
