"""The endpoints under `/api/v1`, one router for each domain."""
