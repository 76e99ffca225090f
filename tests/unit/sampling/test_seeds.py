from itertools import product

from msdiff.sampling.seeds import seed_of_draw


def test_no_two_draws_have_one_seed_and_any_is_a_known_number() -> None:
    of = list(product([0, 1], ["sub-1", "sub-11"], ["placebo", "1placebo", None], range(3)))
    seeds = [seed_of_draw(*what) for what in of]
    assert len(set(seeds)) == len(of)
    assert all(0 <= seed < 2**60 for seed in seeds)
    # Another number would change every sample ever made.
    assert seed_of_draw(0, "sub-1", "placebo", 0) == 88082856743532147
