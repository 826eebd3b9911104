"""What a judge counted: figures to print, and sentences about whatever is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

SENTENCES = 25
"""Problems told in words; the rest is only counted."""


@dataclass(slots=True)
class Figures:
    """Counts over all executions that were judged. The proof holds when `wrong` is empty."""

    kills: int = 0
    executions: int = 0
    announced: int = 0
    """Messages: the init message or the plan's, and the children that records name."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Announced messages by how they ended in their route."""
    lost: int = 0
    """Announced messages without exactly one final record."""
    strays: int = 0
    """Records of messages that nothing announced."""
    committed_twice: int = 0
    """Keys that more than one write succeeded for, or whose record is not the one that was written."""
    changed: int = 0
    """Files that stood at a kill and were gone or different later."""
    mismatches: int = 0
    """Hashes that differ from the object's, and inputs that are not what the stage before made."""
    invocations: int = 0
    repeated: int = 0
    """Invocations of what had been started before."""
    wrongly_repeated: int = 0
    """Repeated although the outcome stood, or although no process had been killed in between."""
    in_flight: int = 0
    """Invocations whose outcome was not committed when their process was killed."""
    in_adapter: int = 0
    """Those of them in which the adapter had not returned."""
    set_aside: int = 0
    """Messages failed without a call, because the process ended while they ran alone."""
    records: int = 0
    lineage_rows: int = 0
    lineage_differs: int = 0
    """Records without their row, rows without their record, and rows that say something else."""
    wrong_ends: int = 0
    """Executions that did not end as they should, or whose counts are wrong."""
    problems: list[str] = field(default_factory=list)

    def find(self, figure: str, sentence: str) -> None:
        """Count one more case of something that is wrong, and keep the first ones in words."""
        setattr(self, figure, getattr(self, figure) + 1)
        if len(self.problems) < SENTENCES:
            self.problems.append(sentence)

    @property
    def wrong(self) -> dict[str, int]:
        """Return the figures that must be 0 and are not."""
        counted = {
            "lost": self.lost,
            "strays": self.strays,
            "committed_twice": self.committed_twice,
            "changed": self.changed,
            "mismatches": self.mismatches,
            "wrongly_repeated": self.wrongly_repeated,
            "repeated_beyond_in_flight": max(self.repeated - self.in_flight, 0),
            "lineage_differs": self.lineage_differs,
            "wrong_ends": self.wrong_ends,
        }
        return {name: count for name, count in counted.items() if count}

    def as_json(self) -> dict[str, Any]:
        """Return everything, with `holds` for the reader in a hurry."""
        return {"holds": not self.wrong, **asdict(self), "outcomes": dict(self.outcomes)}
