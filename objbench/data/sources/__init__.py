"""Where scenes come from: one file per kind of source."""
