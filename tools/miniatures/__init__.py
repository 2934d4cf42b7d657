"""The benchmark in miniature: every method at a size for a laptop, over seeds, from one command."""
