"""DBOS Transact: a workflow for the seed, one for each message through a queue, a step for each stage.

What it keeps, in SQLite: inputs and result of each workflow, the result of each step.
"""

from __future__ import annotations

from cost import Meter
from dbos import DBOS, DBOSConfig
from peers.assignment import CONCURRENCY, WARM_UP, answer, assignment
from work import Payload, payload, stage_a, stage_b, stage_c

QUEUE = "messages"

step_a = DBOS.step(name="a")(stage_a)
step_b = DBOS.step(name="b")(stage_b)
step_c = DBOS.step(name="c")(stage_c)


@DBOS.workflow()
def message(item: Payload) -> Payload:
    result: Payload = step_c(step_b(step_a(item)))
    return result


@DBOS.workflow()
def seed(count: int, size: int) -> int:
    handles = [
        DBOS.enqueue_workflow(QUEUE, message, payload(number, size)) for number in range(count)
    ]
    return len({handle.get_result(polling_interval_sec=0.02)["sha"] for handle in handles})


def main() -> None:
    """Run it on a database of its own."""
    asked = assignment()
    url = f"sqlite:///{asked.folder / 'dbos.sqlite'}"
    config = DBOSConfig(name="bench", system_database_url=url, log_level="ERROR")
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=CONCURRENCY, polling_interval_sec=0.02)
    seed(WARM_UP, asked.size)
    meter = Meter()
    meter.start()
    done = seed(asked.count, asked.size)
    cost = meter.stop()
    DBOS.destroy()
    if done != asked.count:
        raise SystemExit(f"{done} of {asked.count} results")
    answer(cost)


if __name__ == "__main__":
    main()
