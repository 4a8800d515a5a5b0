"""Training setup of a network: proposal counts, input size, faster arithmetic and the optimizer."""

from collections.abc import Callable

import torch
from torch.optim import SGD, AdamW, Optimizer
from torchvision.models.detection import FasterRCNN

from model_store import cpu
from model_store.engines.torch import reduce_precision
from training.config import TrainConfig
from training.learning.folding import fold_frozen_norms
from training.learning.roi_align import gathering


def size_for_training(network: FasterRCNN, config: TrainConfig) -> None:
    """Set the proposal counts of training, and the input size if `crop_px` asks for training on windows."""
    network.rpn.score_thresh = 0.0  # an untrained network scores every proposal low
    network.roi_heads.fg_bg_sampler.batch_size_per_image = config.rois_per_image
    network.roi_heads.fg_bg_sampler.positive_fraction = config.object_share
    for limit in (network.rpn._pre_nms_top_n, network.rpn._post_nms_top_n):
        limit["training"] = config.rpn_proposals
    if config.crop_px:
        network.transform.min_size, network.transform.max_size = (config.crop_px,), config.crop_px


def make_optimizer(network: FasterRCNN, config: TrainConfig) -> Optimizer:
    """Return the optimizer of the trainable parameters. Biases decay only if `decay_all` is set."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trainable if config.decay_all or parameter.ndim > 1]
    plain = [parameter for parameter in trainable if not config.decay_all and parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return AdamW(groups, lr=config.learning_rate, fused=True)


def apply_speed_ups(
    network: FasterRCNN, config: TrainConfig, device: torch.device, *, say: Callable[[str], None]
) -> None:
    """Apply the speed-ups that the configuration asks for and the machine supports."""
    if config.fold_norm:
        fold_frozen_norms(network)
    if config.gather_rois and device.type == "cpu":
        network.roi_heads.box_roi_pool = gathering(network.roi_heads.box_roi_pool)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    if config.precision == "bf16":
        is_cuda = device.type == "cuda"
        if torch.cuda.is_bf16_supported(including_emulation=False) if is_cuda else cpu.has_bfloat16():
            reduce_precision(network, device.type, torch.bfloat16)
        else:
            say(f"{device} has no native bfloat16; training in fp32")
