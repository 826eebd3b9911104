"""What proves that a kill loses nothing: a pipeline, a runner that kills its server, and a judge."""
