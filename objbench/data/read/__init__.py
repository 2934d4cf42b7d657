"""From a prepared folder to tensors: load, stream, verify."""
