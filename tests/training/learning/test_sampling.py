import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from model_store.architectures import NetworkOptions, build
from training.config import TrainConfig
from training.learning.network import size_for_training
from training.learning.sampling import SeededSampler, SeededSampling


def matched(*, objects: int, background: int, neither: int = 5) -> torch.Tensor:
    values = torch.tensor([1.0] * objects + [0.0] * background + [-1.0] * neither)
    return values[torch.randperm(len(values), generator=torch.Generator().manual_seed(len(values)))]


IMAGES = [
    matched(objects=40, background=200),
    matched(objects=3, background=200),
    matched(objects=0, background=9),
    matched(objects=0, background=0),
    torch.zeros(0),
]


def draw(images: list[torch.Tensor], seeds: list[int]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    sampler = SeededSampler(32, 0.25)
    sampler.seeds = seeds
    drawn = sampler(images)
    assert sampler.drawn == sum(int(mask.sum()) for masks in drawn for mask in masks)
    return drawn


def test_it_draws_as_many_as_torchvision_of_each_kind() -> None:
    ours, theirs = draw(IMAGES, [1, 2, 3, 4, 5]), BalancedPositiveNegativeSampler(32, 0.25)(IMAGES)
    for own, other in zip(ours, theirs, strict=True):
        assert [int(mask.sum()) for mask in own] == [int(mask.sum()) for mask in other]
        assert [mask.dtype for mask in own] == [mask.dtype for mask in other]
        assert [mask.shape for mask in own] == [mask.shape for mask in other]
    for image, positive, negative in zip(IMAGES, *ours, strict=True):
        assert bool((image[positive.bool()] >= 1).all())
        assert bool((image[negative.bool()] == 0).all())


def test_an_image_is_drawn_from_alike_whichever_are_beside_it() -> None:
    together = draw(IMAGES, [1, 2, 3, 4, 5])
    torch.rand(3)  # nor does the global generator matter
    for number, image in enumerate(IMAGES):
        alone = draw([image], [number + 1])
        assert torch.equal(alone[0][0], together[0][number])
        assert torch.equal(alone[1][0], together[1][number])


def test_every_candidate_is_drawn_as_often() -> None:
    image = matched(objects=0, background=64, neither=0)
    counts = sum(draw([image], [seed])[1][0].int() for seed in range(400))
    assert isinstance(counts, torch.Tensor)
    assert counts.sum() == 400 * 32
    assert 140 < int(counts.min()) <= int(counts.max()) < 260  # 200 on average, six standard deviations of 10


def test_a_network_s_loss_depends_on_seed_and_step_alone() -> None:
    torch.manual_seed(0)
    network = build(
        "fasterrcnn_mobilenet_v2_fpn", class_count=1, options=NetworkOptions(min_size=64, max_size=64)
    ).train()
    pixels = [torch.rand(3, 64, 64), torch.rand(3, 64, 64)]
    targets = [{"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])} for _ in pixels]

    def losses(*, seed: int, step: int) -> list[float]:
        sampling = SeededSampling(network, seed)
        sampling.begin(step, [4, 9])
        terms = network(pixels, targets)
        assert sampling.drawn().keys() == terms.keys()
        assert all(count > 0 for count in sampling.drawn().values())
        return [float(term.detach()) for term in terms.values()]

    first = losses(seed=1, step=0)
    assert losses(seed=1, step=0) == first
    assert losses(seed=1, step=1) != first
    assert losses(seed=2, step=0) != first


def test_object_share_limits_the_proposals_on_objects() -> None:
    network = build("fasterrcnn_mobilenet_v2_fpn", class_count=1)
    size_for_training(network, TrainConfig(rois_per_image=16, object_share=0.5))
    SeededSampling(network, 0).begin(0, [0])
    positive, negative = network.roi_heads.fg_bg_sampler([matched(objects=40, background=200)])

    assert (int(positive[0].sum()), int(negative[0].sum())) == (8, 8)
