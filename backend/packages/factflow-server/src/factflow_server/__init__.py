"""The HTTP server and the composition root."""
