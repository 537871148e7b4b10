"""``python -m nastk.cli``: the same as the command ``nastk``."""

from nastk.cli import main

main()
