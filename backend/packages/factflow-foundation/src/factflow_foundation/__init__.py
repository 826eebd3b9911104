"""What every tier stands on: ids, keys, outcome records, settings, clock, logging, crash points."""
