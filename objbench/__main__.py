"""`python -m objbench`: the command line."""

from objbench.cli import main

main()
