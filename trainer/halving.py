"""What a search for settings tries, and for how long: pure functions, without TensorFlow.

The rule is a bracket of Hyperband (Li et al. 2018, algorithm 1, lines 3 to 9, its most exploring
one), known as successive halving: all that was drawn trains for a few steps, the best third of it
for three times as many, and so on. What lags is stopped early. A round gives all the same steps,
not the same seconds, so that the same seed finds the same; the seconds are recorded beside FID.
"""

import itertools
import math
import random
from collections.abc import Collection, Mapping, Sequence
from typing import Any

FACTOR = 3  # Hyperband's eta
# By model: which settings are searched, of which values or between which, on a logarithmic scale.
SPACES: dict[str, dict[str, list | tuple[float, float]]] = {
    "cdcgan": {
        "learning_rate": (5e-4, 5e-3),
        "discriminator_rate_ratio": (0.5, 2.0),
        "r1_weight": (0.05, 5.0),
        "loss": ["non_saturating", "hinge"],
    },
    "dcgan": {"learning_rate": (5e-5, 1e-3), "beta_1": [0.0, 0.5]},
    "blocks5": {
        "normalization": ["batch", "group"],
        "activation": ["relu", "leaky_relu"],
        "initializer": ["normal", "xavier"],
        "optimizer": ["adam", "sgd"],
        "learning_rate": [0.001, 0.0001],
    },
    "gaussian_mlp": {"learning_rate": (5e-5, 1e-3), "beta_1": [0.0, 0.5]},
}


def space(model: str, fixed: Collection[str] = ()) -> dict[str, list | tuple[float, float]]:
    """What is searched of a model's settings, but for those that are `fixed`.

    Raises:
      ValueError: nothing is left.
    """
    left = {name: values for name, values in SPACES[model].items() if name not in fixed}
    if not left:
        raise ValueError(
            f"nothing is left to search: {', '.join(SPACES[model])} are what is searched of "
            f"{model}, and --set holds all of them"
        )
    return left


def draw(
    space: Mapping[str, list | tuple[float, float]], first: Mapping[str, Any], count: int, seed: int
) -> list[dict[str, Any]]:
    """Different settings, `first` first; of a grid no more than it has."""
    chance = random.Random(seed)
    drawn = [dict(first)]
    if all(isinstance(values, list) for values in space.values()):
        cells = [dict(zip(space, cell, strict=True)) for cell in itertools.product(*space.values())]
        others = [cell for cell in cells if cell != drawn[0]]
        return drawn + chance.sample(others, min(count - 1, len(others)))
    while len(drawn) < count:
        drawn.append({name: _one(values, chance) for name, values in space.items()})
    return drawn


def _one(values: list | tuple[float, float], chance: random.Random) -> Any:
    if isinstance(values, list):
        return chance.choice(values)
    return float(f"{math.exp(chance.uniform(*map(math.log, values))):.3g}")


def rounds(count: int, steps: int) -> list[tuple[int, int]]:
    """How many train in each round, and for how many steps; the last round is of all `steps`."""
    last = next(i for i in itertools.count() if FACTOR ** (i + 1) > count)
    return [
        (count // FACTOR**i, max(1, round(steps / FACTOR ** (last - i)))) for i in range(last + 1)
    ]


def following(
    plan: Sequence[tuple[int, int]], fids: Sequence[Mapping[int, float]]
) -> tuple[int, int] | None:
    """What trains next.

    Args:
      plan: of `rounds`.
      fids: by round FID of those that have trained in it, by their number among what was drawn.

    Returns:
      Number and round; None where all is done.
    """
    going = list(range(plan[0][0]))
    for number, (count, _) in enumerate(plan):
        if number:
            going = sorted(going, key=lambda one: (fids[number - 1][one], one))[:count]
        for one in going:
            if one not in fids[number]:
                return one, number
    return None
