"""Following a stream of the server to its end, over cut connections and restarts of the server."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factflow_cli import terminal
from factflow_cli.durations import format_duration
from factflow_cli.errors import CliError, unexpected_answer
from factflow_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from factflow_cli.api import Api

LONGEST_SECONDS = 3_600
"""How long the server lets one connection last."""
PATIENCE_SECONDS = 30.0
"""How long a server may be away while it is followed."""
RETRY_SECONDS = 0.5
END = "end"


@dataclass(frozen=True)
class Event:
    """One event, as it was told."""

    name: str
    data: dict[str, Any]


class EventStream:
    """The events of an execution, each once, the last one being `end`.

    `seconds` limits how long it is followed (None: no limit); `timed_out` makes the error that says so.
    `on_lost` is called whenever the server does not answer, and may raise.
    """

    def __init__(
        self,
        api: Api,
        where: str,
        *,
        seconds: float | None,
        timed_out: Callable[[str], CliError],
        on_lost: Callable[[], None] | None = None,
        **query: Any,
    ) -> None:
        self._api = api
        self._where = where
        self._query = query
        self._seconds = seconds
        self._deadline = math.inf if seconds is None else time.monotonic() + seconds
        self._timed_out = timed_out
        self._on_lost = on_lost
        self._last_id: str | None = None
        self._has_answered = False
        self._away_since: float | None = None

    def __iter__(self) -> Iterator[Event]:
        """Yield what is told, going on behind the last event whenever the connection is lost.

        Raises `CliError`: time is up, unknown id, a server that stays away.
        """
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise self._timed_out(format_duration(self._seconds or 0))
            try:
                for event in self._connection(left):
                    yield event
                    if event.name == END:
                        return
            except CliError as error:
                self._sit_out(error)

    def _connection(self, left: float) -> Iterator[Event]:
        """Yield what one connection tells; the server ends it when the time is up."""
        limit = max(1, math.ceil(min(left, LONGEST_SECONDS)))
        began = time.monotonic()
        with self._api.events(
            self._where, last_id=self._last_id, timeout=limit, **self._query
        ) as events:
            for event in events:
                self._has_answered, self._away_since = True, None
                self._last_id = event.id or self._last_id
                if event.data:
                    yield Event(event.event, decoded(event.data))
                if time.monotonic() >= self._deadline:
                    return
        if time.monotonic() - began < limit:
            raise CliError(
                "the server ended the stream before the execution did",
                hint="try again; is it being stopped?",
                exit_code=ExitCode.UNREACHABLE,
                passing=True,
            )

    def _sit_out(self, error: CliError) -> None:
        """Wait a moment when the server is only away; raise the error when it is not, or too long."""
        passing = error.passing or error.exit_code == ExitCode.TIMEOUT
        if passing and self._on_lost is not None:
            self._on_lost()
        if not passing or not self._has_answered:
            raise error
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            terminal.say(f"{error.message}; trying again for {PATIENCE_SECONDS:g}s")
        if now - self._away_since > PATIENCE_SECONDS:
            raise error
        time.sleep(RETRY_SECONDS)


def decoded(data: str) -> dict[str, Any]:
    """Return what an event holds. Raises `CliError` when that is no JSON object."""
    import json

    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise unexpected_answer("an event holds no JSON object")
    return value
