"""`factflow worker`: become a worker."""

from typing import Annotated

import typer

from factflow_cli.becoming import become
from factflow_cli.command import command
from factflow_cli.process_options import (
    AdaptersOption,
    DurabilityOption,
    LogLevelOption,
    PrivateNetworksOption,
    SettingsOption,
)
from factflow_cli.session import Session


def register(app: typer.Typer) -> None:
    """Add the command to the top level."""
    command(
        app,
        "worker",
        "factflow worker",
        "factflow worker --routes html_to_markdown --routes embed --concurrency 16",
        "factflow worker --settings /etc/factflow.toml --adapters my_module",
    )(worker)


def worker(
    session: Session,  # noqa: ARG001  # every command has one; a worker asks no server
    *,
    routes: Annotated[
        list[str] | None,
        typer.Option(
            "--routes",
            metavar="ROUTE",
            help="Take messages of this route. Repeatable. [default: all]",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", min=1, max=1000, help="Of each route [default: as the pipeline says]"
        ),
    ] = None,
    settings: SettingsOption = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="postgresql://USER@HOST/DATABASE, as the servers have it; with a password rather in "
            "the file or the variable",
        ),
    ] = None,
    storage_uri: Annotated[
        str | None,
        typer.Option(
            "--storage-uri", help="s3://BUCKET/PREFIX or file://PATH, as the servers have it"
        ),
    ] = None,
    adapters: AdaptersOption = None,
    allow_private_networks: PrivateNetworksOption = False,
    durability: DurabilityOption = None,
    log_level: LogLevelOption = None,
) -> None:
    """Work on executions that servers own, until Ctrl+C: with PostgreSQL, a broker and a shared store.

    The three are named as for the servers: FACTFLOW_DATABASE_URL, FACTFLOW_QUEUE_URL,
    FACTFLOW_STORAGE_URI. Any number of workers share the messages.
    """
    become(
        "worker",
        {
            "--concurrency": concurrency,
            "--settings": settings,
            "--database-url": database_url,
            "--storage-uri": storage_uri,
            "--durability": durability,
            "--log-level": log_level,
        },
        {"--routes": routes, "--adapters": adapters},
        {"--allow-private-networks": allow_private_networks},
    )
