"""What stands in tables: measured and published rows, and what may be compared."""
