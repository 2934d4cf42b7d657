"""Reading a prepared folder: load, stream, verify."""
