"""Benches: measurements of objbench beside what it replaces, side by side in one run on the same machine."""
