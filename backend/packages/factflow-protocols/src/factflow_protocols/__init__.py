"""Contracts only: what adapters, queues and stores promise. Nothing here does anything.

Import from the modules: `pipeline` (adapters), `queue`, `storage`, `errors`.
"""
