"""The rows of tables: made of records and of published numbers, with their notes, and what can be compared."""
