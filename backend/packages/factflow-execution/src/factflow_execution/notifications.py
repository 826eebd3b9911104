"""Words between processes that share a database: that it is worth looking at something now.

A word may get lost, may come twice, and says nothing by itself. Whoever listens looks at what stands in the
database, and looks at everything when it may have missed words: then its callback gets the empty subject.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Literal, Protocol

Topic = Literal["execution", "rows", "rest", "rested", "pauses", "question", "answer"]
"""`execution`: its row or its events changed. `rows`: lineage has more of it. `rest`, `rested`: its workers
are to rest, and do. `pauses`: routes were paused or resumed. `question`, `answer`: between servers."""

Told = Callable[[str], None]


class Notifications(Protocol):
    """Tells, and hands on what was told; both belong to the event loop's thread and never raise."""

    def tell(self, topic: Topic, subject: str) -> None:
        """Have every process that listens look, this one included; words of one moment go together."""
        ...

    def listen(self, topic: Topic, told: Told) -> Callable[[], None]:
        """Call back for each word of a topic; what is returned ends that."""
        ...


class LocalNotifications:
    """Where there is only one process."""

    def __init__(self) -> None:
        self._listening: dict[str, list[Told]] = defaultdict(list)

    def tell(self, topic: Topic, subject: str) -> None:
        """Call back at once."""
        for told in list(self._listening[topic]):
            told(subject)

    def listen(self, topic: Topic, told: Told) -> Callable[[], None]:
        """Call back for each word of a topic; what is returned ends that."""
        self._listening[topic].append(told)
        return lambda: self._listening[topic].remove(told)

    def look_at_everything(self) -> None:
        """Call back all who listen, with the empty subject."""
        for several in list(self._listening.values()):
            for told in list(several):
                told("")
