"""What a pre-training run needs: memory of a GPU, hours; computed, not timed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mim_zoo.cli import find_config
from mim_zoo.engine.sharding import has_teacher
from mim_zoo.paths import read_config

from .measured import Work, synthetic_images
from .memory import GIB, MIB
from .names import read_name
from .sides import Side, our_side
from .step import Stepper
from .workers import Worker

IMAGES = 1_281_167  # ImageNet-1K
# fp32: weights, gradients, both moments of Adam
TRAINED, FROZEN = 4 * 4, 4
HEAD = (
    '| config | parameters | GFLOPs/img | GPUs x images x accumulated '
    '| state, GiB: DDP | FSDP, 8 GPUs | 32 GPUs | activations, MiB/img | `with_cp` '
    '| hours |\n'
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |'
)


@dataclass(frozen=True)
class Needs:
    """Of a config; memory in bytes, of ``activations`` per image in bf16.

    ``checkpointed``: the same with ``backbone.with_cp``; ``flops`` of one image, there
    and back; ``shardable``: whether FSDP takes it.
    """

    trained: int
    frozen: int
    flops: float
    activations: float
    checkpointed: float
    gpus: int
    batch: int
    accumulated: int
    epochs: int
    shardable: bool

    def state(self, processes: int = 1) -> float:
        """Bytes of weights, gradients and moments of each of so many that share."""
        return (TRAINED * self.trained + FROZEN * self.frozen) / processes

    def hours(self, flops_per_second: float) -> float:
        """Of all epochs on ImageNet-1K, if every GPU really does so much."""
        total = self.flops * IMAGES * self.epochs
        return total / (self.gpus * flops_per_second) / 3600


def needs_of(name: str) -> Needs:
    """Count one config's, on the CPU; minutes for the largest."""
    path = find_config(name)
    cfg = read_config(path)
    gpus = read_name(path.stem).gpus
    if gpus is None:
        raise ValueError(
            f'{name}: its name does not say for how many GPUs it is, as 8xb64 does'
        )
    plain, lean = (
        _count(our_side(name, {'model.backbone.with_cp': cp})) for cp in (False, True)
    )
    return Needs(
        trained=plain['trained'],
        frozen=plain['frozen'],
        flops=plain['flops'],
        activations=plain['activations'],
        checkpointed=lean['activations'],
        gpus=gpus,
        batch=cfg.train_dataloader.batch_size,
        accumulated=cfg.optim_wrapper.get('accumulative_counts', 1),
        epochs=cfg.train_cfg.max_epochs,
        shardable=plain['shardable'],
    )


def _count(side: Side) -> dict[str, Any]:
    with Worker(side.config, Counter, side) as worker:  # its memory ends with it
        return worker.call('count')


class Counter:
    """One model, in a process of its own."""

    def __init__(self, side: Side):
        self.stepper = Stepper(side, Work(batch=2))

    def count(self) -> dict[str, Any]:
        """Numbers trained and frozen; bytes and operations of an image."""
        model = self.stepper.model
        values = [(p.requires_grad, p.numel()) for p in model.parameters()]
        return dict(
            shardable=not has_teacher(model),
            trained=sum(n for trained, n in values if trained),
            frozen=sum(n for trained, n in values if not trained),
            activations=saved_bytes(self.stepper),
            flops=self.stepper.flops_per_image(),
        )


def saved_bytes(stepper: Stepper) -> float:
    """What an image adds to what a forward pass in bf16 keeps for the backward."""
    shape: Any = stepper.image_shape()
    stepper.images = synthetic_images(2, shape, seed=0)
    one, two = (_saved(stepper, count) for count in (1, 2))
    return two - one


def _saved(stepper: Stepper, images: int) -> int:
    kept: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    weights = {p.untyped_storage().data_ptr() for p in stepper.model.parameters()}
    data = stepper.model.data_preprocessor(stepper.batch(images), True)
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value),
        torch.autocast('cpu', torch.bfloat16),
    ):
        stepper.model(**data, mode='loss')
    return sum(
        value.untyped_storage().nbytes()
        for place, value in kept.items()
        if place not in weights
    )


def needs_table(
    found: Sequence[tuple[str, Needs]], peak_tflops: float, mfu: float, link: str
) -> str:
    """Rows of a page; ``link`` leads to the folder of the configs."""
    rows = [HEAD]
    for name, needs in found:
        model = read_name(Path(name).stem).model
        shares = [needs.state(n) / GIB for n in (8, 32)]
        sharded = [f'{n:.2f}' if needs.shardable else '-' for n in shares]
        kept = [n / MIB for n in (needs.activations, needs.checkpointed)]
        hours = needs.hours(peak_tflops * 1e12 * mfu)
        rows.append(
            f'| [{model}]({link}/{name}.py), {needs.epochs} epochs '
            f'| {(needs.trained + needs.frozen) / 1e6:.0f} M '
            f'| {needs.flops / 1e9:.0f} '
            f'| {needs.gpus} x {needs.batch} x {needs.accumulated} '
            f'| {needs.state() / GIB:.1f} | {" | ".join(sharded)} '
            f'| {kept[0]:.0f} | {kept[1]:.0f} | {hours:.0f} |'
        )
    return '\n'.join(rows)
