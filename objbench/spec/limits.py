"""How large an image may be: for whoever declares a dataset, and for whoever decodes one. Imports nothing."""

from __future__ import annotations

MOST_PIXELS = 4096 * 4096  # a small file can claim more than the memory holds
