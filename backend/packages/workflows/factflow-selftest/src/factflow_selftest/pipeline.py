"""The pipeline under test: three routes, with everything in it that is awkward for recovery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

NAME = "selftest"
STATUS = "completed"
"""How it ends when nothing interferes: its failures are within `failure_tolerance`."""

_TEXT = """\
version: "1.0"
name: {name}
init_message: {{route: split, payload: {{}}}}
error_handling: {{failure_tolerance: 0.6}}
routes:
  split:
    inbound: {{queue: split}}
    adapters:
      - type: selftest_fan
        config: {{journal: {journal}, count: {messages}}}
      - type: selftest_vary                 # other bytes and another number of outputs in every call
        config: {{journal: {journal}, seconds: 0.01}}
      - type: selftest_filter
        config: {{journal: {journal}}}
      - type: selftest_slow
        condition: {{field: slow, operator: equals, value: true}}
        config: {{journal: {journal}, seconds: 0.05}}
    outbound: work
  work:
    inbound: {{queue: work}}
    adapters:
      - type: selftest_batch
        batch: {{size: 4, wait_ms: 20}}
        config: {{journal: {journal}, seconds: 0.02}}
      - type: selftest_flaky                # some are tried again, some fail for good
        config: {{journal: {journal}}}
    error_handling: {{max_retries: 2, retry_delay_seconds: 0.2}}
    outbound: again
  again:
    inbound: {{queue: again}}
    adapters:
      - type: selftest_round                # the exit of the cycle
        config: {{journal: {journal}, rounds: 2}}
      - type: selftest_slow
        condition: {{field: slow, operator: equals, value: true}}
        config: {{journal: {journal}, seconds: 0.02}}
    outbound: work
"""


def pipeline_yaml(journal: Path, messages: int) -> str:
    """Return the pipeline's text: `messages` is how many the fan-out makes of its one init message."""
    return _TEXT.format(name=NAME, journal=json.dumps(str(journal)), messages=messages)


class Shape:
    """What a judge needs to know of a pipeline: its routes' stages, where its init message enters, and
    which route follows which."""

    def __init__(self, config_yaml: str) -> None:
        config: dict[str, Any] = yaml.safe_load(config_yaml)
        routes: dict[str, Any] = config["routes"]
        self.stages: dict[str, list[str]] = {
            route: [stage.get("stage", stage["type"]) for stage in settings["adapters"]]
            for route, settings in routes.items()
        }
        self.init_route: str = config["init_message"]["route"]

    def is_last(self, route: str, stage: str) -> bool:
        """Tell whether nothing follows a stage in its route."""
        return self.stages[route][-1] == stage
