"""All recipes by name."""

from interplay.cluster.recipe import Recipe
from interplay.cluster.recipes_hanabi import HANABI
from interplay.cluster.recipes_shaping import SHAPING
from interplay.cluster.recipes_ued import UED
from interplay.cluster.recipes_worlds import WORLDS
from interplay.cluster.recipes_zsc import ZSC
from interplay.envs.core import UsageError, did_you_mean

RECIPES: dict[str, Recipe] = SHAPING | WORLDS | HANABI | ZSC | UED


def recipe(name: str) -> Recipe:
    """The recipe of that name; `UsageError` with the nearest one otherwise."""
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r} is unknown{did_you_mean(name, RECIPES)}")
    return RECIPES[name]
