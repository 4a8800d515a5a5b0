import pytest

from deploy.ray.errors import JobError
from deploy.ray.resources import ActorPool, Machine, fit_actors

SMALL, LARGE, HEAD = Machine(4), Machine(10), Machine(0)
FOUR_GPUS, ONE_GPU = Machine(16, 4), Machine(8, 1)


@pytest.mark.parametrize(
    ("machines", "asked", "expected"),
    [
        ([SMALL], {}, ActorPool(1, 4)),
        ([HEAD, SMALL, LARGE], {}, ActorPool(3, 4)),
        ([SMALL, LARGE], {"cores": 5}, ActorPool(2, 5)),
        ([SMALL, LARGE], {"cores": 2, "actors": 3}, ActorPool(3, 2)),
        ([SMALL, FOUR_GPUS], {"gpus": 1}, ActorPool(4, 4, 1)),
        ([FOUR_GPUS, ONE_GPU], {"gpus": 1}, ActorPool(5, 4, 1)),
        ([ONE_GPU], {"gpus": 0.5}, ActorPool(2, 4, 0.5)),
        ([ONE_GPU, FOUR_GPUS], {"gpus": 2, "cores": 3}, ActorPool(2, 3, 2)),
        ([Machine(2, 4)], {"gpus": 1}, ActorPool(2, 1, 1)),
    ],
)
def test_actors_fill_machines(machines: list[Machine], asked: dict[str, float], expected: ActorPool) -> None:
    assert fit_actors(machines, **{"actors": None, "cores": None, "gpus": 0, **asked}) == expected


@pytest.mark.parametrize(
    ("machines", "asked", "reason"),
    [
        ([HEAD], {}, "has 1 cores for an actor; available: 0 cores and 0 GPUs"),
        ([], {}, "available: none"),
        (
            [SMALL, LARGE],
            {"cores": 11},
            "has 11 cores for an actor; available: 4 cores and 0 GPUs, 10 cores and 0 GPUs",
        ),
        ([SMALL], {"gpus": 1}, "has 1 cores and 1 GPUs for an actor"),
    ],
)
def test_refuses_cluster_without_room(machines: list[Machine], asked: dict[str, float], reason: str) -> None:
    with pytest.raises(JobError, match=reason):
        fit_actors(machines, **{"actors": None, "cores": None, "gpus": 0, **asked})
