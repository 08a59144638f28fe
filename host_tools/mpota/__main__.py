"""`python -m mpota` is the command `mpota`."""

from mpota.cli import main

main()
