"""`python -m kdbench`: the command line."""

from kdbench.cli import main

main()
