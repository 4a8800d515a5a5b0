from training.seeds import mixed_seed


def test_a_seed_depends_on_every_number_and_on_their_order() -> None:
    some = [(1, 2, 3), (1, 2, 4), (3, 2, 1), (1, 2), (12, 3), (0, 1, 2)]
    seeds = [mixed_seed(*numbers) for numbers in some]
    assert len(set(seeds)) == len(some)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mixed_seed(1, 2, 3) == seeds[0]
