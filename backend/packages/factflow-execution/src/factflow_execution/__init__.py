"""Stored configs and executions: lifecycle, waiting, statistics."""
