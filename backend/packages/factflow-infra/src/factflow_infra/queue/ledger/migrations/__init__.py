"""Changes of the ledger's tables, each as Alembic runs it; `versions` are in order."""
