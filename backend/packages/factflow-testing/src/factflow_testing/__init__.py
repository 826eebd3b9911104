"""Contract suites, crash runner and tiny pipelines for the tests; never shipped."""
