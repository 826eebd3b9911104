"""What was announced and what was settled, in SQL: the counts of queues whose messages a broker holds."""

from factflow_infra.queue.ledger.batch import LedgerBatch, Settled
from factflow_infra.queue.ledger.ledger import Ledger
from factflow_infra.queue.ledger.scope_member import ScopeMember
from factflow_infra.queue.ledger.scope_owner import ScopeOwner

__all__ = ["Ledger", "LedgerBatch", "ScopeMember", "ScopeOwner", "Settled"]
