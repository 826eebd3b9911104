"""What was announced and what was settled, in SQL: the counts of queues whose messages a broker holds."""

from factflow_infra.queue.ledger.batch import LedgerBatch, Settled
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_infra.queue.ledger.presence import Presence
from factflow_infra.queue.ledger.scope_member import ScopeMember
from factflow_infra.queue.ledger.scope_owner import ScopeOwner
from factflow_infra.queue.ledger.scope_part import ScopePart

__all__ = [
    "Ledger",
    "LedgerBatch",
    "Presence",
    "ScopeMember",
    "ScopeOwner",
    "ScopePart",
    "Settled",
]
