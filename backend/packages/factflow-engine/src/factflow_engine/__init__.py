"""Pipeline configuration, adapter registry, route processors, orchestrator."""
