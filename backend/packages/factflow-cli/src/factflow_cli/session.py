"""What one call of `factflow` was asked: which server, which form of output, how long to wait."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from factflow_cli import terminal
from factflow_cli.access_token import access_token
from factflow_cli.durations import parse_duration
from factflow_cli.server_address import DEFAULT_SERVER, SERVER_VARIABLE, server_url

if TYPE_CHECKING:
    from factflow_cli.api import Api


@dataclass
class Session:
    """The options that count for every command; a command's own win over those before its name."""

    server: str | None = None
    output: str | None = None
    timeout: str | None = None
    token_file: str | None = None
    _api: Api | None = field(default=None, repr=False)

    def override(
        self,
        *,
        server: str | None,
        output: str | None,
        timeout: str | None,
        token_file: str | None,
    ) -> None:
        """Take what was given after the command's name."""
        self.server = server or self.server
        self.output = output or self.output
        self.timeout = timeout or self.timeout
        self.token_file = token_file or self.token_file

    @property
    def server_is_chosen(self) -> bool:
        """Whether somebody named the server, by option or environment."""
        return bool(self.server or os.environ.get(SERVER_VARIABLE))

    @property
    def url(self) -> str:
        """The server to ask; raises `CliError` when the address given is not one."""
        return server_url(self.server or os.environ.get(SERVER_VARIABLE) or DEFAULT_SERVER)

    @property
    def wait_seconds(self) -> float | None:
        """What `--timeout` says, in seconds; None means no limit."""
        return parse_duration(self.timeout) if self.timeout else None

    @property
    def wants_json(self) -> bool:
        """JSON when asked for, or when stdout is not read by a person."""
        if self.output:
            return self.output in {"json", "jsonl"}
        return not terminal.is_terminal(sys.stdout)

    @property
    def shows_progress(self) -> bool:
        """Whether to draw moving bars (on stderr)."""
        return not self.wants_json and terminal.is_terminal(sys.stderr)

    @property
    def api(self) -> Api:
        """The client, opened at first use."""
        if self._api is None:
            self._api = self.open_api(self.url, token=access_token(self.token_file))
        return self._api

    def open_api(self, url: str, *, token: str | None = None) -> Api:
        """Talk to the server at `url` from here on; the token is for that server alone."""
        from factflow_cli.api import Api

        self.close()
        self._api = Api(url, answer_seconds=self.wait_seconds, token=token)
        return self._api

    def close(self) -> None:
        """Close the client, if one was opened."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def show(self, value: Mapping[str, Any], draw: Callable[[], None]) -> None:
        """Write the value as JSON, a listing as a line for each row, or have it drawn for a person."""
        if self.output == "jsonl":
            for row in page_rows(value):
                terminal.write_json_line(row)
        elif self.wants_json:
            terminal.write_json(value)
        else:
            draw()


def page_rows(answer: Mapping[str, Any]) -> Sequence[Any]:
    """Return the rows of a listing: the one list of objects beside its `limit`.

    An answer that is no listing is a row of its own.
    """
    lists = [
        value
        for value in answer.values()
        if isinstance(value, list) and all(isinstance(row, Mapping) for row in value)
    ]
    return lists[0] if "limit" in answer and len(lists) == 1 else [answer]
