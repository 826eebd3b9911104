"""Options that servers and workers have alike."""

from typing import Annotated, Literal

import typer

SettingsOption = Annotated[
    str | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="File of settings [default: ./factflow.toml, if it is there]",
    ),
]
AdaptersOption = Annotated[
    list[str] | None,
    typer.Option(
        "--adapters", metavar="MODULE", help="Python module with your adapters. Repeatable."
    ),
]
PrivateNetworksOption = Annotated[
    bool,
    typer.Option("--allow-private-networks", help="Let adapters fetch from private addresses."),
]
DurabilityOption = Annotated[
    Literal["os", "fsync"] | None,
    typer.Option("--durability", help="fsync also survives a power cut [default: os]"),
]
LogLevelOption = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    typer.Option("--log-level", help="How much to log [default: warning]"),
]
