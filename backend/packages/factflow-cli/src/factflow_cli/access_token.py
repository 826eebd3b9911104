"""The token that the server asks for: from the environment or a file, and never from the command line,
where everybody who lists processes could read it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from factflow_cli.errors import CliError

TOKEN_VARIABLE = "FACTFLOW_API_TOKEN"  # noqa: S105 - a name, not a token
_TOKEN = re.compile(r"[!-~]{1,512}")


def access_token(file: str | None) -> str | None:
    """Return the token of the file given, else of the environment; None when there is none.

    Raises `CliError` for a file that cannot be read, or text that is no token; it is not repeated.
    """
    if file is None:
        token, where = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not token:
            return None
    else:
        where = file
        try:
            token = Path(file).expanduser().read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CliError(
                f"the token cannot be read from {file}: {type(error).__name__}",
                hint="--token-file names a file that holds the token alone",
            ) from error
    if not _TOKEN.fullmatch(token):
        raise CliError(
            f"what {where} holds is no access token", hint="a token is one line without blanks"
        )
    return token
