"""Who wants to know that something was written, told across servers, as far as there are several.

A notification is a hint and carries nothing: what is so stands in the database. Whoever is told looks there,
and nothing is lost for good when a notification is, since a listener that may have missed some is told to
look at everything again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Literal, Protocol

from factflow_foundation import logs

Topic = Literal["execution", "rows", "rest", "rested", "pauses", "question", "answer"]
"""What the subject is of: `execution` (its row or its events changed), `rows` (lineage has more of it) and
`rested` (a worker takes no more of it) have an execution's id, `rest` the id and a grace period in seconds;
`pauses` has a route's name; `question` has the id of the server that is asked, `answer` of the one that
asked."""

Callback = Callable[[str | None], None]
"""Called in the event loop with the subject that was told; with None to look at everything of its topic."""

MOST_SUBJECTS = 1_000
"""Of one topic at a time; for more than these, whoever is told looks at everything."""

_log = logs.logger(__name__)


class Notifications(Protocol):
    """Tells listeners in this process and in all others on the same database. Belongs to the event loop."""

    def tell(self, topic: Topic, subject: str) -> None:
        """Tell everyone who listens to the topic, this process included; call it after the commit.

        Returns at once and never raises. The same told several times at one moment may arrive once, and a
        multitude of subjects as None. It does not arrive when this process ends before it could be told.
        """

    def listen(self, topic: Topic, callback: Callback) -> Callable[[], None]:
        """Have `callback` called for what is told from now on; return what ends that.

        It is called with None whenever something may have been missed, so that whoever reads what is there
        after this misses nothing. What it raises is logged and keeps nobody else from being told.
        """


class Told:
    """Topics with their subjects, each once, in the order they came; None stands for all of a topic."""

    def __init__(self) -> None:
        self._subjects: dict[str, dict[str, None] | None] = {}

    def __bool__(self) -> bool:
        return bool(self._subjects)

    def add(self, topic: str, subject: str | None) -> None:
        """Keep a subject; too many of one topic are all of it."""
        subjects = self._subjects.setdefault(topic, {})
        if subjects is None:
            return
        if subject is None or (subject not in subjects and len(subjects) == MOST_SUBJECTS):
            self._subjects[topic] = None
        else:
            subjects[subject] = None

    def take(self) -> list[tuple[str, str | None]]:
        """Return what is kept, and forget it."""
        taken, self._subjects = self._subjects, {}
        pairs: list[tuple[str, str | None]] = []
        for topic, subjects in taken.items():
            pairs += [(topic, None)] if subjects is None else [(topic, one) for one in subjects]
        return pairs


class LocalNotifications:
    """`Notifications` of the one server on its database: listeners are called at the loop's next turn."""

    def __init__(self) -> None:
        self._callbacks: dict[str, dict[int, Callback]] = defaultdict(dict)
        self._made = 0
        self._told = Told()
        self._closed = False

    def tell(self, topic: Topic, subject: str) -> None:
        """Tell everyone who listens to the topic."""
        self.pass_on(topic, subject)

    def listen(self, topic: Topic, callback: Callback) -> Callable[[], None]:
        """Have `callback` called for what is told from now on; return what ends that."""
        self._made += 1
        number = self._made
        self._callbacks[topic][number] = callback

        def end() -> None:
            self._callbacks[topic].pop(number, None)

        return end

    def pass_on(self, topic: str, subject: str | None) -> None:
        """Tell it, whoever it came from; None has those who listen look at everything of the topic."""
        if self._closed or not self._callbacks.get(topic):
            return
        if not self._told:
            asyncio.get_running_loop().call_soon(self._call)
        self._told.add(topic, subject)

    def look_again(self) -> None:
        """Have all who listen look at everything of their topics."""
        for topic in list(self._callbacks):
            self.pass_on(topic, None)

    async def close(self) -> None:
        """Call nobody any more."""
        self._closed = True
        self._callbacks.clear()

    def _call(self) -> None:
        for topic, subject in self._told.take():
            callbacks = self._callbacks.get(topic, {})
            for number in list(callbacks):
                callback = callbacks.get(number)  # another one may have ended it
                if callback is None:
                    continue
                try:
                    callback(subject)
                except Exception:  # noqa: BLE001 - the others are to be told, too
                    _log.error("a listener failed", topic=topic, subject=subject, exc_info=True)
