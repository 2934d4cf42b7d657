"""A ray tracer of small scenes in batches; the look of a set stands in its own room."""
