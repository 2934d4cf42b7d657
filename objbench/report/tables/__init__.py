"""What a table shows, and how it is laid out."""
