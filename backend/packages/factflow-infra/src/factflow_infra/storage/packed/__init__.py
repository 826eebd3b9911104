"""Packed storage: the objects of an execution and their records in one SQLite file, a pack."""
