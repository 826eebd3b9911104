"""Pipeline configuration: YAML in, checked models or a list of everything that is wrong out."""
