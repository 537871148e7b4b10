"""``nastk measure``."""

import typer

app = typer.Typer(help="Measure sample efficiency: predictors and searchers side by side on real tables.")


def measure() -> None:
    """measure"""
