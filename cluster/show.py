"""`interplay list`."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from interplay.cluster.recipes import RECIPES
from interplay.envs.core import UsageError


def list_recipes(arguments: Sequence[str]) -> None:
    """Print the recipes, one line each; without a terminal as plain `name  title  (cost)` lines."""
    if arguments:
        raise UsageError(f"list takes no arguments, got {' '.join(arguments)!r}")
    console, width = Console(), max(map(len, RECIPES))
    if not console.is_terminal:
        for name, recipe in RECIPES.items():
            print(f"{name:{width}} {recipe.title} ({recipe.cost})")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "what", "cost on 2 cores"):
        table.add_column(column)
    for name, recipe in RECIPES.items():
        table.add_row(name, recipe.title, recipe.cost)
    console.print(table)
