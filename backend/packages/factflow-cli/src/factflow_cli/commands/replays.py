"""`factflow execution replay`, `tree` and `diff`: running again what is stored, and comparing."""

from typing import Annotated, Any, Literal

import typer

from factflow_cli import terminal
from factflow_cli.api import path, rows, text
from factflow_cli.command import command
from factflow_cli.commands.config import KeyOption, LoadedCodeOption, TagOption
from factflow_cli.errors import unexpected_answer
from factflow_cli.execution_view import without_snapshot
from factflow_cli.exit_codes import ExitCode
from factflow_cli.following import wait_and_exit
from factflow_cli.replay_request import parse_overrides, read_ids, split_names
from factflow_cli.replay_view import draw_diff, draw_plan, draw_replay, draw_tree
from factflow_cli.session import Session
from factflow_cli.tables import print_line

ExecutionId = Annotated[
    str, typer.Argument(metavar="EXECUTION_ID", help="Id of an execution, or its tag.")
]
ANSWER_SECONDS = 600
"""Reading a million records takes its time."""


def add_to(app: typer.Typer) -> None:
    """Add the commands to the group."""
    command(
        app,
        "replay",
        "factflow execution replay ID --from-stage web_scraper",
        "factflow execution replay ID --from-stage fetch --to-route markdown",
        "factflow execution replay ID --only failed --wait",
        "factflow execution replay ID --from-stage embed --rerun \\\n"
        "      --set embeddings.embed.model=small --sample 20 --dry-run",
        "factflow execution replay ID --from-stage embed --with REPLAY_ID",
        "factflow execution replay ID --from-stage clean --where url~/blog/",
    )(replay)
    command(app, "tree", "factflow execution tree EXECUTION_ID")(tree)
    command(
        app,
        "diff",
        "factflow execution diff EXECUTION_ID REPLAY_ID",
        "factflow execution diff before after --stage markdown --content",
    )(diff)


def replay(
    session: Session,
    execution_id: ExecutionId,
    *,
    from_stage: Annotated[
        str | None,
        typer.Option("--from-stage", help="Continue from this stage; STAGE or ROUTE/STAGE."),
    ] = None,
    to_route: Annotated[
        str | None,
        typer.Option("--to-route", help="Send the stage's artefacts into this route instead."),
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run the stage itself again, for all that came to it.")
    ] = False,
    only: Annotated[
        Literal["failed"] | None,
        typer.Option(
            "--only",
            help="Just the failed messages; without --from-stage each where it failed.",
        ),
    ] = None,
    overlays: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="ID,…",
            help="Lay earlier replays over the source; of each message the last success counts.",
        ),
    ] = None,
    message: Annotated[
        list[str] | None,
        typer.Option(
            "--message",
            metavar="ID",
            help="Just this message, by message, lineage or origin id. Repeatable.",
        ),
    ] = None,
    messages_file: Annotated[
        str | None,
        typer.Option(
            "--messages-file", metavar="FILE", help="The same, one id on each line; - reads stdin."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="FIELD=VALUE, FIELD!=VALUE or FIELD~PART on status, error_type, error, url, …; "
            "repeated ones must all hold.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", min=1, metavar="N", help="N messages, the same ones every time."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a setting, named ROUTE.STAGE.KEY, for this replay. Repeatable.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="CONFIG_ID", help="Run this config's current version."),
    ] = None,
    tag: TagOption = None,
    idempotency_key: KeyOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and start nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the new execution and exit as it ends.")
    ] = False,
    loaded_code: LoadedCodeOption = False,
) -> None:
    """Continue from a stage, as a new execution.

    It works with what is stored; nothing is fetched again. Messages that the stage completed go on
    after it; those that failed in it go through it again.
    """
    asked: dict[str, Any] = {
        "from_stage": from_stage,
        "to_route": to_route,
        "rerun": rerun or None,
        "only": only,
        "with": split_names(overlays or ()) or None,
        "messages": read_ids(message or (), messages_file) or None,
        "where": where or None,
        "sample": sample,
        "set": parse_overrides(overrides or ()) or None,
        "config_id": config,
        "tag": tag,
        "loaded_code": loaded_code or None,
        "dry_run": dry_run or None,
    }
    answer = session.api.post(
        path("executions", execution_id, "replay"),
        {name: value for name, value in asked.items() if value is not None},
        seconds=ANSWER_SECONDS,
        idempotency_key=idempotency_key,
    )
    if dry_run:
        _show_plan(session, answer)
    else:
        _show_start(session, answer, wait=wait)


def _show_plan(session: Session, plan: dict[str, Any]) -> None:
    if plan.get("dry_run") is not True:
        raise unexpected_answer("it started a replay instead of planning one")
    session.show(plan, lambda: draw_plan(plan))
    if plan.get("can_run") is False:
        raise typer.Exit(ExitCode.REFUSED)


def _show_start(session: Session, answer: dict[str, Any], *, wait: bool) -> None:
    new_id = text(answer, "execution_id")
    if not wait:
        session.show(without_snapshot(answer), lambda: draw_replay(answer))
        if not session.wants_json:
            terminal.say(f"next: factflow execution wait {new_id}")
        return
    if not session.wants_json:
        draw_replay(answer)
        print_line()
    elif answer.get("note"):
        terminal.say(str(answer["note"]))
    wait_and_exit(session, new_id)


def tree(session: Session, execution_id: ExecutionId) -> None:
    """Show an execution's replays, and what it was made from."""
    answer = session.api.get(path("executions", execution_id, "tree"))
    text(answer, "execution_id")
    session.show(answer, lambda: draw_tree(answer))


def diff(
    session: Session,
    a: Annotated[str, typer.Argument(metavar="A", help="Id of an execution, or its tag.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The execution to compare it with.")],
    *,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Just this stage; STAGE or ROUTE/STAGE.")
    ] = None,
    content: Annotated[
        bool, typer.Option("--content", help="Show how text content differs, line by line.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=1000, help="Differing messages to show.")
    ] = 20,
) -> None:
    """Compare two executions, message by message.

    Messages are paired by origin. Exits with 0 when they are the same, 1 when they differ.
    """
    answer = session.api.get(
        path("executions", a, "diff", b),
        seconds=ANSWER_SECONDS,
        stage=stage,
        content=content or None,
        limit=limit,
    )
    rows(answer, "stages")
    session.show(answer, lambda: draw_diff(answer))
    if answer.get("same") is not True:
        raise typer.Exit(ExitCode.FAILED)
