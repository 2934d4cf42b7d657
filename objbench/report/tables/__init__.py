"""The tables of a report: which rows and columns each has, and their layout."""
