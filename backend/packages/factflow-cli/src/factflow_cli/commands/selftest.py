"""`factflow selftest`: try on this machine what is promised."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.command import command, group
from factflow_cli.exit_codes import ExitCode
from factflow_cli.selftest_process import Progress, selftest
from factflow_cli.session import Session
from factflow_cli.tables import Column, number, print_facts, print_line, print_table

app = group("Prove on this machine that a killed server loses nothing.")

COLUMNS = (
    Column("FIGURE", "name", whole=True),
    number("COUNT", "count"),
    Column("MEANING", "meaning", keep=1, wraps=True),
)
FIGURES = {
    "kills": "times the server was killed and started again",
    "executions": "executions that ran meanwhile; every third one is a replay",
    "announced": "messages, by the files",
    "invocations": "calls of adapters, by their journal",
    "in_flight": "of them not committed when their process was killed",
    "repeated": "of them calls of what had been started before; at most those in flight",
    "set_aside": "messages given up because a kill met them while they ran alone",
}
MUST_BE_0 = {
    "lost": "messages without exactly one outcome",
    "committed_twice": "outcomes with a second commit",
    "changed": "stored files that changed or went away",
    "mismatches": "inputs and outputs that are not what their hash says",
    "strays": "outcomes of messages that nothing announced",
    "wrongly_repeated": "calls repeated although the outcome stood",
    "lineage_differs": "lineage rows that differ from the outcomes",
    "wrong_ends": "executions with another status or count than in a calm run",
}
SPOKEN_EVERY = 10
"""Kills between two lines of progress where no bar can be drawn."""


@command(
    app,
    "chaos",
    "factflow selftest chaos --kills 20",
    "factflow selftest chaos --kills 500 --seconds 3600 --seed 7 --keep",
)
def chaos(
    session: Session,
    *,
    kills: Annotated[
        int, typer.Option("--kills", min=0, help="How often to kill the server.")
    ] = 20,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="Kill no more after this time.")
    ] = 300.0,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Draw the same moments again [default: new ones]")
    ] = None,
    messages: Annotated[
        int, typer.Option("--messages", min=1, help="How many the pipeline begins with.")
    ] = 20,
    packed: Annotated[
        bool, typer.Option("--packed", help="Have the server keep its objects in packed storage.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave data, journals and log in a folder.")
    ] = False,
) -> None:
    """Kill a server of our own at random moments, and count what was lost.

    Runs a pipeline with everything that is awkward for recovery in a folder of its own, ends the
    server as kill -9 does, starts it again, and compares what adapters did with what is stored.
    Exits with 0 when nothing was lost or committed twice, with 1 otherwise.
    """
    arguments = ["chaos", "--kills", str(kills), "--seconds", str(seconds)]
    arguments += ["--messages", str(messages)]
    if seed is not None:
        arguments += ["--seed", str(seed)]
    if packed:
        arguments.append("--packed")
    if keep:
        arguments.append("--keep")
    with _bar(kills) if session.shows_progress else _lines(kills) as progress:
        figures = selftest(arguments, progress, session.wait_seconds)
    session.show(figures, lambda: _draw(figures))
    if figures.get("holds") is not True:
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def _bar(kills: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("kills", total=kills)
        yield lambda said: bars.update(task, completed=_kills(said), description=_phase(said))


@contextmanager
def _lines(kills: int) -> Iterator[Progress]:
    spoken = 0

    def progress(said: Mapping[str, Any]) -> None:
        nonlocal spoken
        if _kills(said) >= spoken + SPOKEN_EVERY:
            spoken = _kills(said)
            terminal.say(f"{spoken} of {kills} kills")

    yield progress


def _kills(said: Mapping[str, Any]) -> int:
    count = said.get("kills")
    return count if isinstance(count, int) else 0


def _phase(said: Mapping[str, Any]) -> str:
    return "to the end" if said.get("unfinished") else "kills"


def _draw(figures: Mapping[str, Any]) -> None:
    rows = [
        {"name": name.replace("_", " "), "count": figures.get(name), "meaning": meaning}
        for name, meaning in {**FIGURES, **MUST_BE_0}.items()
    ]
    print_table(COLUMNS, rows)
    print_line()
    outcomes = figures.get("outcomes")
    if isinstance(outcomes, Mapping):
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    else:
        told = ""
    holds = figures.get("holds") is True
    print_facts(
        [
            ("outcomes", told),
            ("seed", figures.get("seed")),
            ("folder", figures.get("folder")),
            ("result", "nothing lost, nothing committed twice" if holds else "it does not hold"),
        ]
    )
    problems = figures.get("problems")
    for problem in problems if isinstance(problems, list) else ():
        print_line(f"- {problem}")
