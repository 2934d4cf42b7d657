"""`python -m miniatures`, which tools/miniature runs."""

from __future__ import annotations

import sys

from miniatures.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
