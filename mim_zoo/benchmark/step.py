"""Training steps of one side, in a process of its own.

A step is what MMEngine's training loop does with a batch: the preprocessing of uint8
images on the device, forward, backward, the optimizer's update.
"""

import copy
import gc
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import mim_zoo
import mim_zoo.engine  # fills its registries
from mim_zoo.registry import MODELS, SCOPE

from .measured import Measured, Work
from .sides import Side

LEARNING_RATE = 1e-6  # as in warm-up: weights stay near where they start
WRAPPERS = {'fp32': 'OptimWrapper', 'bf16': f'{SCOPE}.AmpOptimWrapper'}
KEPT = ('optimizer', 'constructor', 'paramwise_cfg', 'clip_grad')
FLOP_IMAGES = 2


class Stepper(Measured):
    """Training steps: a model, its optimizer and a batch."""

    model: Any  # BaseModel, or one in DDP

    def __init__(self, side: Side, work: Work):
        super().__init__(side, work)
        build = build_ours if side.package == SCOPE else build_mmpretrain
        self.model, self.version = build(side)
        self.model.to(self.device).train()
        self.optim_wrapper = build_optimizer(self.model, side, work.dtype)
        self.compile()
        self.losses: list[Tensor] = []

    def join(self, rank: int, processes: int, meeting: str) -> None:
        """Share gradients with the others, who meet at that file from now on."""
        gpu = self.device.type == 'cuda'
        if gpu:
            torch.cuda.set_device(self.device)
        torch_dist.init_process_group(
            'nccl' if gpu else 'gloo',
            init_method=f'file://{meeting}',
            rank=rank,
            world_size=processes,
        )
        self.model = MMDistributedDataParallel(
            self.model,
            device_ids=[self.device.index] if gpu else None,
            broadcast_buffers=False,
        )

    def leave(self) -> None:
        """Be alone again."""
        if torch_dist.is_initialized():
            self.model = self.model.module
            gc.collect()  # DDP's hooks end with it
            torch_dist.barrier()
            torch_dist.destroy_process_group()

    def image_shape(self) -> tuple[int, ...] | None:
        """Of the encoder; a peer's does not say."""
        if self.side.package != SCOPE:
            return None
        encoder = self.model.backbone
        return (encoder.in_channels, *encoder.img_size)

    def once(self) -> None:
        """A step."""
        logged = self.model.train_step(self.batch(), self.optim_wrapper)
        self.losses.append(logged['loss'].detach())

    def result(self) -> dict[str, Any]:
        """Peak memory of the timed steps, losses of the first and the last step."""
        losses = [float(loss) for loss in self.losses]
        return dict(super().result(), first_loss=losses[0], last_loss=losses[-1])

    def flops_per_image(self) -> float:
        """Of one forward and backward pass: matrix products and convolutions.

        Attention is counted as the matrix products of its plain form, whatever kernel
        the timed steps used. Left out: norms, activations, softmax, Fourier
        transforms, everything else per element, and the optimizer.
        """
        self.uncompile()
        count = min(FLOP_IMAGES, self.work.batch)
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):
            data = self.model.data_preprocessor(self.batch(count), True)
            losses = self.model._run_forward(data, mode='loss')
            self.model.parse_losses(losses)[0].backward()
        self.optim_wrapper.zero_grad()
        return counter.get_total_flops() / count

    def batch(self, count: int | None = None) -> dict[str, Any]:
        """What a loader would give: images (B, C_in, H, W) uint8 on the host."""
        images = self.images[:count]
        if self.side.package == SCOPE:
            numbers = torch.arange(len(images))
            return dict(inputs=images, sample_idx=numbers, seed=numbers)
        from mmpretrain.structures import DataSample

        return dict(inputs=images, data_samples=[DataSample() for _ in images])


def build_ours(side: Side) -> tuple[BaseModel, str]:
    """Model with random weights, version."""
    init_default_scope(SCOPE)
    import_modules_from_strings(list(side.imports), allow_failed_imports=False)
    return MODELS.build(side.model), mim_zoo.__version__


def build_mmpretrain(side: Side) -> tuple[BaseModel, str]:
    """Model with random weights, version. It needs none of mmcv's compiled ops."""
    import mmpretrain
    from mmpretrain.registry import MODELS as theirs
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    model = theirs.build(copy.deepcopy(side.model))
    model.init_weights()  # as its runner does; positions are set there
    return model, mmpretrain.__version__


def build_optimizer(model: BaseModel, side: Side, dtype: str) -> OptimWrapper:
    """The config's optimizer and parameter groups, in the same wrapper for all."""
    wrapper = {k: v for k, v in side.optim_wrapper.items() if k in KEPT}
    wrapper['type'] = WRAPPERS[dtype]
    wrapper['optimizer'] = {**wrapper['optimizer'], 'lr': LEARNING_RATE}
    return build_optim_wrapper(model, wrapper)
