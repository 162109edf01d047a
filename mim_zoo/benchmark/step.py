"""Training steps of one side, in a process of its own.

A step is what MMEngine's training loop does with a batch: the preprocessing of uint8
images on the device, forward, backward, the optimizer's update.
"""

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import mim_zoo
import mim_zoo.engine  # fills its registries
from mim_zoo.engine.memory import keep_freed_memory
from mim_zoo.registry import MODELS, SCOPE

from .memory import MIB, PeakMemory
from .sides import Side

LEARNING_RATE = 1e-6  # as in warm-up: weights stay near where they start
WRAPPERS = {'fp32': 'OptimWrapper', 'bf16': f'{SCOPE}.AmpOptimWrapper'}
KEPT = ('optimizer', 'constructor', 'paramwise_cfg', 'clip_grad')
FLOP_IMAGES = 2


@dataclass(frozen=True)
class Work:
    """How the steps are done, the same on every side."""

    batch: int
    dtype: str = 'fp32'
    compile: bool = False
    device: str = 'cpu'
    threads: int | None = None
    seed: int = 0


class Stepper:
    """A model, its optimizer and one batch of synthetic images."""

    def __init__(self, side: Side, work: Work):
        if side.package == SCOPE and work.device == 'cpu':
            keep_freed_memory()  # as ZooRunner does
        if work.threads:
            torch.set_num_threads(work.threads)
        torch.manual_seed(work.seed)
        self.side, self.work = side, work
        self.device = torch.device(work.device)
        build = build_ours if side.package == SCOPE else build_mmpretrain
        self.model, self.version = build(side)
        self.model.to(self.device).train()
        self.optim_wrapper = build_optimizer(self.model, side, work.dtype)
        if work.compile:  # what MMEngine's compile=True does
            self.model.forward = torch.compile(self.model.forward)
        self.memory = PeakMemory(self.device)
        self.losses: list[Tensor] = []
        self.images = torch.empty(0)

    def facts(self) -> dict[str, Any]:
        """What is known before the first step."""
        encoder = self.model.backbone
        parameters = sum(p.numel() for p in self.model.parameters())
        shape = None
        if self.side.package == SCOPE:
            shape = (encoder.in_channels, *encoder.img_size)
        return dict(
            version=self.version,
            parameters=parameters,
            image_shape=shape,
            threads=torch.get_num_threads(),
        )

    def prepare(self, image_shape: tuple[int, int, int], warm_up: int) -> None:
        """Make the batch, do the first steps, begin to watch the memory."""
        self.images = synthetic_images(self.work.batch, image_shape, self.work.seed)
        if self.device.type == 'cuda':
            self.images = self.images.pin_memory()
        self.memory.start()
        self.run(warm_up)
        self.memory.reset()

    def run(self, steps: int) -> float:
        """Seconds per step."""
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            logged = self.model.train_step(self.batch(), self.optim_wrapper)
            self.losses.append(logged['loss'].detach())
        self._wait()
        return (time.perf_counter() - start) / steps

    def result(self) -> dict[str, Any]:
        """Peak memory of the timed steps, losses of the first and the last step."""
        losses = [float(loss) for loss in self.losses]
        return dict(
            memory=self.memory.read(), first_loss=losses[0], last_loss=losses[-1]
        )

    def flops_per_image(self) -> float:
        """Of one forward and backward pass: matrix products and convolutions.

        Attention is counted as the matrix products of its plain form, whatever kernel
        the timed steps used. Left out: norms, activations, softmax, Fourier
        transforms, everything else per element, and the optimizer.
        """
        vars(self.model).pop('forward', None)  # compiled code hides what it does
        count = min(FLOP_IMAGES, self.work.batch)
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):
            data = self.model.data_preprocessor(self.batch(count), True)
            losses = self.model._run_forward(data, mode='loss')
            self.model.parse_losses(losses)[0].backward()
        self.optim_wrapper.zero_grad()
        return counter.get_total_flops() / count

    def profile(self, rows: int) -> list[dict[str, Any]]:
        """The operators (on a GPU, kernels) that one step spends most time in.

        Time and memory of each are its own, without what it calls.
        """
        where = 'cpu' if self.device.type == 'cpu' else 'device'
        with torch.profiler.profile(profile_memory=True) as profiler:
            self.run(1)
        events = [
            dict(
                name=event.key,
                ms=getattr(event, f'self_{where}_time_total') / 1e3,
                calls=event.count,
                mib=getattr(event, f'self_{where}_memory_usage') / MIB,
            )
            for event in profiler.key_averages()
        ]
        total = sum(event['ms'] for event in events)
        events.sort(key=lambda event: -event['ms'])
        return [{**event, 'share': event['ms'] / total} for event in events[:rows]]

    def batch(self, count: int | None = None) -> dict[str, Any]:
        """What a loader would give: images (B, C_in, H, W) uint8 on the host."""
        images = self.images[:count]
        if self.side.package == SCOPE:
            numbers = torch.arange(len(images))
            return dict(inputs=images, sample_idx=numbers, seed=numbers)
        from mmpretrain.structures import DataSample

        return dict(inputs=images, data_samples=[DataSample() for _ in images])

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def synthetic_images(batch: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Noise (B, C_in, H, W) uint8, the same for everyone with that seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=generator)


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
