"""What every queue has to keep, one promise per test.

A provider's test subclasses `QueueContract` and overrides the fixtures `queue` and `reopen`; one whose
clock is moved by hand overrides `clock` and `advance` too. `backlog` should exceed what the provider holds
in memory or prefetches. `ExactQueueContract` adds what no broker can promise.
"""

from __future__ import annotations

from factflow_testing.queue_claim_promises import ClaimPromises
from factflow_testing.queue_delivery_promises import DeliveryPromises
from factflow_testing.queue_exact_promises import ExactPromises
from factflow_testing.queue_place_promises import PlacePromises
from factflow_testing.queue_rig import Advance, Reopen
from factflow_testing.queue_scope_promises import ScopePromises
from factflow_testing.queue_settling_promises import SettlingPromises

__all__ = ["Advance", "ExactQueueContract", "QueueContract", "Reopen"]


class QueueContract(
    DeliveryPromises, SettlingPromises, ClaimPromises, PlacePromises, ScopePromises
):
    """The suite. Not collected by itself: its name has no `Test` in front."""


class ExactQueueContract(QueueContract, ExactPromises):
    """The suite for queues that keep the rows of all messages themselves."""
