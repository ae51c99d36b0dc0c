"""The halving rule as pure functions: what is drawn, for how many steps, and what trains next."""

import pytest

from trainer import halving
from trainer.training_config import MODELS, make_config


@pytest.mark.parametrize(
    ("trials", "steps", "plan"),
    [
        (1, 500, [(1, 500)]),
        (2, 500, [(2, 500)]),
        (3, 9, [(3, 3), (1, 9)]),
        (9, 900, [(9, 100), (3, 300), (1, 900)]),
        (32, 1620, [(32, 60), (10, 180), (3, 540), (1, 1620)]),
        (9, 2, [(9, 1), (3, 1), (1, 2)]),
    ],
)
def test_a_third_goes_on_for_three_times_as_many_steps(trials, steps, plan):
    assert halving.rounds(trials, steps) == plan


def play(plan, fid) -> list[tuple[int, int]]:
    """The whole search, `fid(number, round)` being what a training comes to."""
    fids: list[dict[int, float]] = [{} for _ in plan]
    order = []
    while found := halving.following(plan, fids):
        number, of_round = found
        order.append(found)
        fids[of_round][number] = fid(number, of_round)
    return order


def test_the_best_of_each_round_go_on_and_the_best_of_all_trains_longest():
    order = play([(9, 1), (3, 3), (1, 9)], lambda number, _: abs(number - 6))
    assert order == [*((n, 0) for n in range(9)), (6, 1), (5, 1), (7, 1), (6, 2)]


def test_what_diverged_goes_on_only_where_all_did():
    infinite = float("inf")
    order = play([(3, 1), (1, 3)], lambda number, _: infinite if number != 2 else 5.0)
    assert order[-1] == (2, 1)
    assert play([(3, 1), (1, 3)], lambda *_: infinite)[-1] == (0, 1)


def test_a_grid_is_drawn_whole_without_a_repetition_and_what_is_set_now_comes_first():
    space = halving.space("blocks5")
    first = {name: values[-1] for name, values in space.items()}
    drawn = halving.draw(space, first, 100, seed=3)
    assert len(drawn) == 32 and drawn[0] == first
    assert len({tuple(cell.values()) for cell in drawn}) == 32
    assert drawn == halving.draw(space, first, 100, seed=3)
    assert halving.draw(space, first, 5, seed=3) != halving.draw(space, first, 5, seed=4)


@pytest.mark.parametrize("model", MODELS)
def test_all_that_is_searched_of_a_model_it_takes(model):
    space, settings = halving.space(model), make_config(model=model).model_dump()
    for values in halving.draw(space, {name: settings[name] for name in space}, 20, seed=1):
        make_config(model=model, **values)


def test_a_setting_that_is_held_is_not_searched():
    assert "beta_1" not in halving.space("dcgan", ["beta_1", "steps"])
    with pytest.raises(ValueError, match="nothing is left to search"):
        halving.space("dcgan", ["beta_1", "learning_rate"])
