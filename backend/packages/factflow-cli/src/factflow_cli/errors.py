"""The one error a command ends with: what happened, what to do, and which exit code says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factflow_cli.exit_codes import ExitCode


class CliError(Exception):
    """Ends a command: printed as `error: …` and `hint: …` on stderr, never as a stack trace.

    `code` is the server's stable error code ('' when the error is ours), `passing` means that the
    server is away or out of order for now, `issues` are what its validation found.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        exit_code: ExitCode = ExitCode.USAGE,
        code: str = "",
        passing: bool = False,
        issues: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.code = code
        self.passing = passing
        self.issues = issues


def unexpected_answer(what: str) -> CliError:
    """Return the error for an answer that is not what the API promises."""
    return CliError(
        f"the server's answer is not what Factflow sends: {what}",
        hint="check that --server names a Factflow server of this version",
        exit_code=ExitCode.SERVER_ERROR,
    )
