import pytest

from deploy.ray.errors import JobError
from deploy.ray.pool import Machine, Pool, pool_of

SMALL, LARGE, HEAD = Machine(4), Machine(10), Machine(0)
FOUR_GPUS, ONE_GPU = Machine(16, 4), Machine(8, 1)


@pytest.mark.parametrize(
    ("machines", "asked", "expected"),
    [
        ([SMALL], {}, Pool(1, 4)),
        ([HEAD, SMALL, LARGE], {}, Pool(3, 4)),
        ([SMALL, LARGE], {"cores": 5}, Pool(2, 5)),
        ([SMALL, LARGE], {"cores": 2, "actors": 3}, Pool(3, 2)),
        ([SMALL, FOUR_GPUS], {"gpus": 1}, Pool(4, 4, 1)),
        ([FOUR_GPUS, ONE_GPU], {"gpus": 1}, Pool(5, 4, 1)),
        ([ONE_GPU], {"gpus": 0.5}, Pool(2, 4, 0.5)),
        ([ONE_GPU, FOUR_GPUS], {"gpus": 2, "cores": 3}, Pool(2, 3, 2)),
        ([Machine(2, 4)], {"gpus": 1}, Pool(2, 1, 1)),
    ],
)
def test_actors_fill_the_machines(machines: list[Machine], asked: dict[str, float], expected: Pool) -> None:
    assert pool_of(machines, **{"actors": None, "cores": None, "gpus": 0, **asked}) == expected


@pytest.mark.parametrize(
    ("machines", "asked", "reason"),
    [
        ([HEAD], {}, "has 1 cores for an actor; there: 0 cores and 0 GPUs"),
        ([], {}, "there: none"),
        ([SMALL, LARGE], {"cores": 11}, "has 11 cores for an actor; there: 4 cores and 0 GPUs, 10 cores and 0 GPUs"),
        ([SMALL], {"gpus": 1}, "has 1 cores and 1 GPUs for an actor"),
    ],
)
def test_a_cluster_without_room_is_refused(machines: list[Machine], asked: dict[str, float], reason: str) -> None:
    with pytest.raises(JobError, match=reason):
        pool_of(machines, **{"actors": None, "cores": None, "gpus": 0, **asked})
