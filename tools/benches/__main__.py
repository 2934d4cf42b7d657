"""`python -m benches`, which tools/bench runs."""

from __future__ import annotations

import sys

from benches.command import main

if __name__ == "__main__":  # the processes that a bench spawns import this file too
    sys.exit(main(sys.argv[1:]))
