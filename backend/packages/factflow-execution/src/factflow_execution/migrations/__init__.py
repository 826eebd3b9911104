"""Changes of the tables of configs and executions, each as Alembic runs it; `versions` are in order."""
