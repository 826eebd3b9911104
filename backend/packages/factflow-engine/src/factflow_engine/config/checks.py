"""What no single value shows: adapters that do not exist, queues without a reader, loops without an end.

*Cycle without exit* (E108). A message that every stage hands on goes round a cycle of routes for ever.
Whether a stage ends messages is known when it runs, not from the YAML; so a cycle is accepted when it
shows that its author thought of an end: some stage on one of its routes has a `condition`, or an
adapter class that declares `ends_messages = True`. This catches the loop made by mistake; it does not
prove that the accepted one ends. A stage whose adapter is unknown gets the benefit of the doubt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from factflow_engine.adapter_modules import AdapterLoadError
from factflow_engine.config.field_errors import adapter_config_issues, secret_issues
from factflow_engine.config.graph import cycles, reachable
from factflow_engine.config.issues import (
    ConfigIssue,
    PathParts,
    Severity,
    format_path,
    shorten,
    suggest_name,
)
from factflow_engine.config.outline import RouteOutline, StageOutline, outline_routes
from factflow_engine.config.secrets import missing_variables
from factflow_engine.config.yaml_document import YamlDocument
from factflow_engine.registry import AdapterRegistry, RegisteredAdapter, UnknownAdapterError


def check_pipeline(
    document: YamlDocument, registry: AdapterRegistry, environ: Mapping[str, str]
) -> Iterator[ConfigIssue]:
    """Yield every issue between the parts of a pipeline (a mapping), readable or not in full."""
    return _Checks(document, registry, environ).run()


@dataclass(frozen=True, slots=True)
class _DeadLetters:
    """A dead-letter queue as written: for one route, or for all (`route` None)."""

    route: str | None
    queue: str
    path: PathParts


@dataclass(frozen=True, slots=True)
class _Unused:
    """A key that does nothing where `needs`, of the same block, is not set or 0."""

    code: str
    block: str
    key: str
    needs: str
    message: str


_UNUSED = (
    _Unused(
        "W504",
        "backpressure",
        "max_concurrency",
        "target_latency_ms",
        "concurrency does not adapt here: there is no `target_latency_ms`",
    ),
    _Unused(
        "W507",
        "error_handling",
        "retry_on",
        "max_retries",
        "nothing is tried again here: `max_retries` is 0",
    ),
    _Unused(
        "W508",
        "circuit_breaker",
        "probe_after_seconds",
        "failures",
        "no breaker opens here: `failures` is 0",
    ),
)


class _Checks:
    def __init__(
        self, document: YamlDocument, registry: AdapterRegistry, environ: Mapping[str, str]
    ) -> None:
        self._document = document
        self._data: dict[str, Any] = document.data
        self._registry = registry
        self._environ = environ
        self._routes = outline_routes(self._data)
        self._consumers: dict[str, str] = {}
        for route in self._routes:
            if route.queue is not None:
                self._consumers.setdefault(route.queue, route.id)

    def run(self) -> Iterator[ConfigIssue]:
        for route in self._routes:
            yield from self._stage_names(route)
            for stage in route.stages:
                yield from self._stage(route, stage)
        yield from self._queues()
        yield from self._endless_cycles()
        yield from self._init_message()
        yield from self._dead_letter_queues()
        yield from self._unused_keys()

    def _stage_names(self, route: RouteOutline) -> Iterator[ConfigIssue]:
        first: dict[str, StageOutline] = {}
        for stage in route.stages:
            if stage.name is None or first.setdefault(stage.name, stage) is stage:
                continue
            yield self._issue(
                "E104",
                route.stage_path(stage),
                f"route {shorten(route.id)!r} has two stages named {shorten(stage.name)!r}",
                "give one of them a name of its own with `stage:`",
            )

    def _stage(self, route: RouteOutline, stage: StageOutline) -> Iterator[ConfigIssue]:
        if stage.type is None:
            return
        path = route.stage_path(stage)
        try:
            adapter = self._registry.get(stage.type)
        except UnknownAdapterError as error:
            message = f"no adapter of type {shorten(stage.type)!r} is installed or loaded"
            yield self._issue("E103", (*path, "type"), message, error.hint)
            return
        except AdapterLoadError as error:
            yield self._issue("E111", (*path, "type"), error.message, error.hint)
            return
        if stage.has_batch and not adapter.handles_batches:
            yield self._issue(
                "W505",
                (*path, "batch"),
                f"adapter {stage.type!r} takes one message at a time, so `batch` does nothing",
                "remove it",
                "warning",
            )
        if stage.config is not None:
            yield from self._settings(adapter, stage.config, (*path, "config"))

    def _settings(
        self, adapter: RegisteredAdapter, config: dict[str, Any], path: PathParts
    ) -> Iterator[ConfigIssue]:
        model = adapter.config_model
        yield from adapter_config_issues(
            model, config, self._environ, path=path, document=self._document
        )
        yield from secret_issues(model, config, path=path, document=self._document)
        for place, variable in missing_variables(config, self._environ, path=path):
            yield self._issue(
                "W506",
                place,
                f"the environment variable {variable} is not set here",
                f"set it for the server before running, or write ${{{variable}:-default}}",
                "warning",
            )

    def _queues(self) -> Iterator[ConfigIssue]:
        for route in self._routes:
            if route.queue is not None and self._consumers[route.queue] != route.id:
                yield self._issue(
                    "E105",
                    ("routes", route.id, "inbound", "queue"),
                    f"queue {shorten(route.queue)!r} is consumed by route "
                    f"{shorten(self._consumers[route.queue])!r} already",
                    "every queue has exactly one route that consumes it",
                )
        if any(route.queue is None for route in self._routes):
            return  # the unreadable one may be the reader that seems to be missing
        for route in self._routes:
            if route.outbound is not None and route.outbound not in self._consumers:
                hint = suggest_name(route.outbound, self._consumers)
                yield self._issue(
                    "E106",
                    route.outbound_path,
                    f"no route consumes queue {shorten(route.outbound)!r}",
                    f"{hint}; without `outbound` results stay in storage alone",
                )

    def _endless_cycles(self) -> Iterator[ConfigIssue]:
        routes = {route.id: route for route in self._routes}
        for cycle in cycles(self._successors()):
            stages = [stage for route_id in cycle for stage in routes[route_id].stages]
            if any(self._may_end(stage) for stage in stages):
                continue
            around = " → ".join(shorten(route_id) for route_id in [*cycle[:10], cycle[0]])
            yield self._issue(
                "E108",
                routes[cycle[0]].outbound_path,
                f"the routes {around} form a cycle in which nothing can end a message",
                "put a `condition` on a stage, use an adapter that ends messages, or remove an "
                "`outbound`",
            )

    def _may_end(self, stage: StageOutline) -> bool:
        if stage.has_condition or stage.type is None:
            return True
        try:
            return self._registry.get(stage.type).ends_messages
        except (UnknownAdapterError, AdapterLoadError):
            return True

    def _init_message(self) -> Iterator[ConfigIssue]:
        init = self._data.get("init_message")
        if init is None:
            yield self._issue(
                "W502",
                (),
                "there is no `init_message`: an execution has nothing to do, only a replay has",
                "add `init_message:` with a `route:`",
                "warning",
            )
            return
        start = init.get("route") if isinstance(init, dict) else None
        routes = self._data.get("routes")
        if not isinstance(start, str) or not isinstance(routes, dict):
            return
        if start not in routes:
            yield self._issue(
                "E107",
                ("init_message", "route"),
                f"there is no route {shorten(start)!r}",
                suggest_name(start, routes),
            )
            return
        reached = reachable([start], self._followers())
        for route in self._routes:
            if route.id not in reached:
                yield self._issue(
                    "W501",
                    ("routes", route.id),
                    f"no message of the init route {shorten(start)!r} comes to this route",
                    "let an `outbound` lead to it, or start it with replay --to-route",
                    "warning",
                )

    def _dead_letter_queues(self) -> Iterator[ConfigIssue]:
        for letters in self._dead_letters():
            if letters.queue not in self._consumers:
                yield self._issue(
                    "W503",
                    letters.path,
                    f"no route consumes the dead-letter queue {shorten(letters.queue)!r}: "
                    "failed messages are kept as copies in storage, under `_dead`, and go nowhere",
                    "add a route for it if they are to be processed",
                    "warning",
                )

    def _unused_keys(self) -> Iterator[ConfigIssue]:
        """Point out keys that do nothing, as the key that would give them a use is not set."""
        for unused in _UNUSED:
            top = _block_of(self._data, unused.block)
            used = False
            for route in self._routes:
                own = _block_of(self._data["routes"][route.id], unused.block)
                if (top | own).get(unused.needs, 0) != 0:
                    used = True
                elif unused.key in own:
                    yield self._unused(unused, ("routes", route.id))
            if unused.key in top and not used:
                yield self._unused(unused, ())

    def _unused(self, unused: _Unused, place: PathParts) -> ConfigIssue:
        return self._issue(
            unused.code,
            (*place, unused.block, unused.key),
            unused.message,
            f"set `{unused.needs}`, or remove `{unused.key}`",
            "warning",
        )

    def _dead_letters(self) -> Iterator[_DeadLetters]:
        blocks: list[tuple[str | None, Any, PathParts]] = [(None, self._data, ())]
        blocks += [
            (route.id, self._data["routes"][route.id], ("routes", route.id))
            for route in self._routes
        ]
        for route_id, block, path in blocks:
            handling = block.get("error_handling")
            queue = handling.get("dead_letter_queue") if isinstance(handling, dict) else None
            if isinstance(queue, str):
                place = (*path, "error_handling", "dead_letter_queue")
                yield _DeadLetters(route_id, queue, place)

    def _successors(self) -> dict[str, str]:
        """Return the next route of each route that has one."""
        return {
            route.id: self._consumers[route.outbound]
            for route in self._routes
            if route.outbound is not None and route.outbound in self._consumers
        }

    def _followers(self) -> dict[str, list[str]]:
        """Return where a route's messages go: its results, and its failures."""
        found = {route_id: [after] for route_id, after in self._successors().items()}
        for letters in self._dead_letters():
            consumer = self._consumers.get(letters.queue)
            if consumer is not None:
                senders = [letters.route] if letters.route else [r.id for r in self._routes]
                for sender in senders:
                    found.setdefault(sender, []).append(consumer)
        return found

    def _issue(
        self,
        code: str,
        path: PathParts,
        message: str,
        suggestion: str,
        severity: Severity = "error",
    ) -> ConfigIssue:
        line = self._document.line(path)
        return ConfigIssue(severity, code, format_path(path), line, message, suggestion)


def _block_of(block: Any, name: str) -> dict[str, Any]:
    """Return the keys that are given in a block of settings, `error_handling` for instance."""
    settings = block.get(name)
    if not isinstance(settings, dict):
        return {}
    return {key: value for key, value in settings.items() if value is not None}
