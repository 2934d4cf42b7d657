"""benchmarks.yaml, typed, and the one configuration that a run uses."""
