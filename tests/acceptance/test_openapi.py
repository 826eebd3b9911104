"""The API is what `/openapi.json` says: requests made up from the description, answers held against it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from factflow_testing.server_process import ServerProcess

load_all_checks()

EXCLUDED = {
    checks.negative_data_rejection: "JSON numbers and booleans are read leniently: '5' is 5",
    checks.positive_data_acceptance: "that a stage, tag, key or query exists cannot be said in a schema",
    checks.unsupported_method: "`/configs/validate` is a `/configs/{id}` too, where GET finds nothing",
}
"""Checks that are left out, each with its reason."""

PIPELINE = """
version: "1.0"
init_message: {route: split, payload: {n: 0}}
routes:
  split:
    inbound: {queue: split}
    adapters: [{type: fan, config: {count: 3}}, {type: fail, config: {numbers: [1]}}]
"""
KNOWN: dict[str, str] = {}
"""Ids of what there is, for half of the requests; others ask for what there is not."""


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description of a server that has run an execution."""
    folder = tmp_path_factory.mktemp("described")
    with ServerProcess(folder / "data", "--adapters", "factflow_testing.adapters") as server:
        config = server.create(PIPELINE)
        execution = server.run(config)
        server.end_of(execution)
        row = server.get(f"/lineage?execution_id={execution}")["entries"][0]
        key = server.get(f"/storage/objects?execution_id={execution}")["objects"][0]["key"]
        KNOWN.update(config_id=config, execution_id=execution, other_id=execution)
        KNOWN.update(row_id=row["id"], adapter_type="fan", key=key)
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def _validate(operation: Any, profile: settings, mode: GenerationMode) -> str | None:
    """Send requests made up for one operation; return what is wrong with an answer, None when nothing is."""

    @profile
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        for name, value in case.path_parameters.items():
            if name in KNOWN and len(str(value)) % 2:
                case.path_parameters[name] = KNOWN[name]
        case.call_and_validate(excluded_checks=list(EXCLUDED), timeout=30)

    try:
        send()
    except Unsatisfiable:
        return None  # nothing that this operation takes can be wrong
    except (Exception, BaseExceptionGroup) as error:
        return f"{operation.label}: {error}"
    return None


def _all_wrong(described: Any, profile: settings) -> list[str]:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 30
    found = (
        _validate(operation, profile, mode)
        for operation in operations
        for mode in _modes(operation)
    )
    return [wrong for wrong in found if wrong is not None]


def _modes(operation: Any) -> list[GenerationMode]:
    """Return what to make up; nothing wrong, which is long in vain, where all that is taken is a path."""
    takes = [*operation.body, *(p for p in operation.iter_parameters() if p.location != "path")]
    return [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if takes else [])]


PROFILE = settings(
    max_examples=3,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_every_answer_is_as_described(described: Any) -> None:
    """No status, header or shape but those of the description, and no 5xx, whatever is sent."""
    wrong = _all_wrong(described, PROFILE)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.long
def test_every_answer_to_many_requests_is_as_described(described: Any) -> None:
    """The same, with other requests at every run."""
    profile = settings(PROFILE, max_examples=20, derandomize=False)
    wrong = _all_wrong(described, profile)
    assert not wrong, "\n\n".join(wrong)


def test_every_operation_tells_its_errors_in_the_one_shape(described: Any) -> None:
    """No answer is left to a catch-all; each error has `ErrorResponse`."""
    for path, methods in described.raw_schema["paths"].items():
        for method, operation in methods.items():
            responses = operation["responses"]
            assert "default" not in responses, (method, path)
            assert {"403", "422", "500", "503"} <= set(responses), (method, path)
            for status, told in responses.items():
                if int(status) >= 400:
                    schema = told["content"]["application/json"]["schema"]
                    assert schema["$ref"].endswith("/ErrorResponse"), (method, path, status)
