"""``python -m nastk``: the same as the command ``nastk``."""

from nastk.cli import main

main()
