"""An adapter that tells outside of the process what it does, and ends the process for chosen messages."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)


class JournalConfig(AdapterConfigModel):
    journal: str
    """The file that lines are appended to."""
    seconds: float = 0.0
    """How long a message takes."""
    kills: list[int] = Field(default_factory=list)
    """For these numbers the process ends at once, as if it ran out of memory."""


@register_adapter_type("journal", config=JournalConfig)
class JournalAdapter:
    """Passes payloads `{"n": …}` on, with a line in the journal at the start and the end of each."""

    def __init__(self, config: JournalConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        number = context.payload["n"]
        self._tell("start", number, context)
        if number in self._config.kills:
            await asyncio.sleep(self._config.seconds / 2)  # others are under way by then
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(self._config.seconds)
        self._tell("end", number, context)
        return AdapterResult(context.payload)

    def _tell(self, what: str, number: int, context: PipelineContext) -> None:
        line = f"{os.getpid()} {what} {context.execution_id} {number}\n"
        target = os.open(self._config.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(target, line.encode())
        finally:
            os.close(target)


@dataclass(frozen=True, slots=True)
class JournalLine:
    """One start or end of a message, in one process."""

    process: int
    what: Literal["start", "end"]
    execution_id: str
    number: int


def lines_of(journal: Path) -> list[JournalLine]:
    """Return a journal's lines in their order; none when there is no journal yet."""
    if not journal.exists():
        return []
    lines = []
    for text in journal.read_text().splitlines():
        process, what, execution_id, number = text.split()
        kind: Literal["start", "end"] = "start" if what == "start" else "end"
        lines.append(JournalLine(int(process), kind, execution_id, int(number)))
    return lines


def beside(journal: Path, number: int) -> list[set[tuple[str, int]]]:
    """Return, for every start of a number, which others were under way at any time while it was."""
    starts: list[set[tuple[str, int]]] = []
    process, under_way, watched = 0, set[tuple[str, int]](), set[int]()
    for line in lines_of(journal):
        if line.process != process:
            process, under_way, watched = line.process, set(), set()
        me = (line.execution_id, line.number)
        if line.what == "end":
            under_way.discard(me)
            if line.number == number:
                watched.clear()
            continue
        for start in watched:
            starts[start].add(me)
        if line.number == number:
            watched.add(len(starts))
            starts.append(set(under_way))
        under_way.add(me)
    return starts
