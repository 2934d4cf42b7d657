"""From a source to a prepared folder."""
