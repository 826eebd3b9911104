"""Sitemaps, robots, polite fetching: web pages as artefacts."""
