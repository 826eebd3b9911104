"""`factflow serve`: become the server."""

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
        "serve",
        "factflow serve",
        "factflow serve --port 9000 --data-dir /var/lib/factflow --adapters my_module",
        "factflow serve --storage-uri packed://./.factflow/storage",
        "factflow serve --storage-uri s3://my-bucket/factflow",
    )(serve)


def serve(
    session: Session,  # noqa: ARG001  # every command has one; a server asks no server
    *,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", help="Where all is kept [default: ./.factflow]")
    ] = None,
    settings: SettingsOption = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="postgresql://USER@HOST/DATABASE for all tables; with a password rather in "
            "the file or the variable [default: files in the data folder]",
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on [default: 127.0.0.1]")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allowed-host",
            metavar="NAME",
            help="Name or address that clients may call the server by. Repeatable.",
        ),
    ] = None,
    api_tokens_file: Annotated[
        str | None,
        typer.Option(
            "--api-tokens-file",
            help="Access tokens, one name:scope:token a line [env var: FACTFLOW_API_TOKENS]",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="0 takes a free one [default: 8000]"),
    ] = None,
    adapters: AdaptersOption = None,
    allow_private_networks: PrivateNetworksOption = False,
    durability: DurabilityOption = None,
    storage_uri: Annotated[
        str | None,
        typer.Option(
            "--storage-uri",
            help="packed://PATH: few files instead of one for each object; s3://BUCKET/PREFIX: a bucket "
            "[default: plain files]",
        ),
    ] = None,
    pipelines: Annotated[
        str | None, typer.Option("--pipelines", help="Folder of pipelines to check at start.")
    ] = None,
    log_level: LogLevelOption = None,
    max_concurrent_executions: Annotated[
        int | None, typer.Option("--max-concurrent-executions", min=1, help="[default: 12]")
    ] = None,
    no_work: Annotated[
        bool, typer.Option("--no-work", help="Leave all messages to workers (factflow worker).")
    ] = False,
    embedded: Annotated[  # noqa: ARG001  # accepted because people type it; there is no other mode
        bool, typer.Option("--embedded", help="All in one process; the only mode of this command.")
    ] = True,
) -> None:
    """Run a server with everything in it, until Ctrl+C. The process becomes the server."""
    become(
        "serve",
        {
            "--settings": settings,
            "--data-dir": data_dir,
            "--database-url": database_url,
            "--host": host,
            "--port": port,
            "--api-tokens-file": api_tokens_file,
            "--pipelines": pipelines,
            "--durability": durability,
            "--storage-uri": storage_uri,
            "--log-level": log_level,
            "--max-concurrent-executions": max_concurrent_executions,
        },
        {"--adapters": adapters, "--allowed-host": allowed_host},
        {
            "--embedded": True,
            "--allow-private-networks": allow_private_networks,
            "--no-work": no_work,
        },
    )
