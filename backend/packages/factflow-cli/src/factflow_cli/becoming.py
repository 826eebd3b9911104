"""A command that becomes a server or a worker: same process id, same terminal, nothing in between."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from factflow_cli.private_server import server_command


def become(
    name: str,
    values: Mapping[str, str | int | None],
    lists: Mapping[str, Sequence[str] | None],
    flags: Mapping[str, bool],
) -> NoReturn:
    """Replace this process by a command of the server's package, with the options that were given.

    Raises `CliError` when that package is not installed.
    """
    arguments = [name]
    for option, value in values.items():
        if value is not None:
            arguments += [option, str(value)]
    for option, several in lists.items():
        for one in several or ():
            arguments += [option, one]
    arguments += [option for option, given in flags.items() if given]
    os.execv(sys.executable, server_command(*arguments))  # noqa: S606  # our own interpreter and module, no shell
