"""What can be wrong with a replay. Each says what there is to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from factflow_engine.config.issues import shorten
from factflow_protocols.errors import FactflowError

KEYS_SHOWN = 20
NAMES_SHOWN = 20


class ReplayRefusedError(FactflowError):
    """The request contradicts itself, or asks for something no replay can do."""

    code: ClassVar[str] = "invalid_request"


class StageNotFoundError(FactflowError):
    """A pipeline (the source's, or that of `--config`) has no such stage."""

    code: ClassVar[str] = "stage_not_found"

    def __init__(
        self, stage: str, candidates: Iterable[str], pipeline: str = "the source's pipeline"
    ) -> None:
        super().__init__(
            f"{pipeline} has no stage {shorten(stage)!r}",
            hint=f"its stages are {listed(candidates)}",
        )


class StageAmbiguousError(FactflowError):
    """Several routes have a stage of this name."""

    code: ClassVar[str] = "stage_ambiguous"

    def __init__(self, stage: str, candidates: Iterable[str]) -> None:
        super().__init__(
            f"stage {stage!r} is in several routes", hint=f"say which: {listed(candidates)}"
        )


class RouteNotFoundError(FactflowError):
    """A pipeline (the source's, or that of `--config`) has no such route."""

    code: ClassVar[str] = "route_not_found"

    def __init__(
        self, route: str, candidates: Iterable[str], pipeline: str = "the source's pipeline"
    ) -> None:
        super().__init__(
            f"{pipeline} has no route {shorten(route)!r}",
            hint=f"its routes are {listed(candidates)}",
        )


class ReplayEmptyError(FactflowError):
    """Nothing would be published; the message says why."""

    code: ClassVar[str] = "replay_empty"


class NotAReplayError(FactflowError):
    """`with` names an execution that was not made from the source."""

    code: ClassVar[str] = "not_a_replay"

    def __init__(self, name: str, source: str, candidates: Sequence[str]) -> None:
        known = f"its replays are {listed(candidates)}" if candidates else "it has no replays"
        super().__init__(f"{shorten(name)} is no replay of {source} or of its replays", hint=known)


class MessagesNotFoundError(FactflowError):
    """Ids were given that belong to no message which came to the stage."""

    code: ClassVar[str] = "messages_not_found"

    def __init__(self, missing: Sequence[str], place: str) -> None:
        super().__init__(
            f"{counted(len(missing), 'id')} {'is' if len(missing) == 1 else 'are'} of no message "
            f"that {place}: {listed(missing)}",
            hint="give message, lineage or origin ids; factflow lineage chain ID shows where a "
            "message came from",
        )
        self.missing = list(missing)


class ArtefactsMissingError(FactflowError):
    """Records name artefacts that storage does not have; nothing was published.

    `keys` has the first of them, `count` says how many there are.
    """

    code: ClassVar[str] = "artefacts_missing"

    def __init__(self, keys: Sequence[str], count: int | None = None) -> None:
        self.keys = list(keys)
        self.count = len(keys) if count is None else count
        shown = ", ".join(keys[:KEYS_SHOWN])
        rest = self.count - min(len(keys), KEYS_SHOWN)
        verb = "is" if self.count == 1 else "are"
        super().__init__(
            f"{counted(self.count, 'artefact')} {verb} missing from storage: {shown}"
            + (f" and {rest} more" if rest else ""),
            hint="restore them, or replay from an earlier stage",
        )


def counted(count: int, noun: str) -> str:
    """Return `1 message`, `2 messages`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence, the first `NAMES_SHOWN` of them."""
    known = list(names)
    shown = [shorten(name) for name in known[:NAMES_SHOWN]]
    if len(known) > NAMES_SHOWN:
        shown.append(f"… ({len(known)} in all)")
    return ", ".join(shown)
