"""A selection in words: what a replay does not run again, and why nothing was left to publish."""

from __future__ import annotations

from factflow_replay.replay.errors import ReplayEmptyError, counted, listed
from factflow_replay.replay.message_filter import MessageFilter
from factflow_replay.replay.models import SelectionCounts
from factflow_replay.replay.route_resolver import ReplayTarget


def note(counts: SelectionCounts, target: ReplayTarget | None) -> str:
    """Return what a person should know of a replay."""
    if target is None:
        parts = [f"{counted(counts.at_stage_failed, 'failed message')} will run again"]
    else:
        parts = _stage_notes(counts, target)
    left_out = [
        (counts.not_settled, "still under way in the source"),
        (counts.without_artefact, "without an artefact to send on"),
        (counts.finished, "finished there: nothing follows"),
        (counts.covered, "behind an earlier message of the same path"),
    ]
    parts += [f"{count} {why}" for count, why in left_out if count]
    return "; ".join(parts)


def _stage_notes(counts: SelectionCounts, target: ReplayTarget) -> list[str]:
    parts = []
    if counts.after_stage:
        parts.append(f"is not run again for {counted(counts.after_stage, 'message')}")
    again = counts.run_again + counts.filtered_again
    if again:
        parts.append(f"runs again for {counted(again, 'message')}")
    runs = counts.at_stage_failed + counts.at_stage_queued
    if runs:
        parts.append(f"runs for {runs} that failed or were cut off there")
    sentences = [f"{'it' if number else target.stage} {part}" for number, part in enumerate(parts)]
    if counts.filtered:
        sentences.append(f"{counts.filtered} were filtered there and stay so")
    if counts.after_stage and not target.redirected:
        sentences.append("--rerun runs it for all")
    return sentences


def gone(source: str) -> ReplayEmptyError:
    """Return the error for a source of which storage has nothing."""
    return ReplayEmptyError(
        f"nothing to replay: storage has no object of execution {source}",
        hint=f"restore the folder executions/{source} from a copy; a replay reads nothing else",
    )


def empty(
    counts: SelectionCounts, target: ReplayTarget | None, wanted: MessageFilter, source: str
) -> ReplayEmptyError:
    """Return the error for a selection of nothing."""
    hint = f"factflow execution stats {source}"
    if wanted.unknown_fields:
        return ReplayEmptyError(
            f"nothing to replay: no message has a field {listed(wanted.unknown_fields)}",
            hint=f"fields: {listed(wanted.fields)}",
        )
    if target is None:
        left_out = f": {_left_out(counts)}" if _left_out(counts) else ""
        reason = "the conditions leave out all that failed" if left_out else "no message failed"
        return ReplayEmptyError(f"nothing to replay: {reason}{left_out}", hint=hint)
    place = f"{target.route}/{target.stage}"
    if counts.finished:
        hint = (
            "name a route for its artefacts with --to-route, run it again with --rerun, or name an "
            "earlier stage"
        )
    elif counts.filtered:
        hint = f"--rerun runs {target.stage} again, for those it filtered too"
    reason = _left_out(counts) or f"no message of the source came to {place}"
    return ReplayEmptyError(f"nothing to replay from {place}: {reason}", hint=hint)


def _left_out(counts: SelectionCounts) -> str:
    reasons = [
        (counts.filtered, "filtered there"),
        (counts.not_settled, "still under way in the source"),
        (counts.finished, "finished there, where nothing follows"),
        (counts.covered, "behind an earlier message of the same path"),
        (counts.without_artefact, "without an artefact of the stage to send on"),
        (counts.not_failed, "not failed there"),
        (counts.not_matched, "not among those asked for"),
        (counts.not_sampled, "not in the sample"),
    ]
    return " and ".join(f"{counted(count, 'message')} {why}" for count, why in reasons if count)
