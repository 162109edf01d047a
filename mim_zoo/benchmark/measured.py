"""Something done again and again on a device, its time and its memory."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mim_zoo.engine.hooks.compile_blocks import compile_blocks
from mim_zoo.engine.memory import keep_freed_memory
from mim_zoo.registry import SCOPE

from .memory import MIB, PeakMemory
from .sides import Side


@dataclass(frozen=True)
class Work:
    """How it is done, the same on every side."""

    batch: int
    dtype: str = 'fp32'
    compile: str | None = None
    device: str = 'cpu'
    threads: int | None = None
    seed: int = 0


COMPILED = ('model', 'blocks')


class Measured(ABC):
    """A model and one batch of synthetic images; lives in a process of its own."""

    model: nn.Module
    version: str

    def __init__(self, side: Side, work: Work):
        if side.package == SCOPE and work.device == 'cpu':
            keep_freed_memory()  # as ZooRunner does
        if work.threads:
            torch.set_num_threads(work.threads)
        torch.manual_seed(work.seed)
        self.side, self.work = side, work
        self.device = torch.device(work.device)
        self.memory = PeakMemory(self.device)
        self.images = torch.empty(0)

    def compile(self) -> None:
        """Compile what is wished: of a peer, always the whole model."""
        if self.work.compile == 'blocks' and self.side.package == SCOPE:
            compile_blocks(self.model)
        elif self.work.compile:  # what MMEngine's compile=True does
            self.model.forward = torch.compile(self.model.forward)

    def uncompile(self) -> None:
        """To plain code, whose operations can be counted."""
        vars(self.model).pop('forward', None)
        for module in self.model.modules():
            module._compiled_call_impl = None

    @abstractmethod
    def once(self) -> None:
        """What is measured."""

    @abstractmethod
    def image_shape(self) -> tuple[int, ...] | None:
        """(C_in, H, W) of the images that the model is for, if it says so."""

    @abstractmethod
    def flops_per_image(self) -> float:
        """Of the matrix products and convolutions of one pass."""

    def place(self, images: Tensor) -> Tensor:
        """Images (B, C_in, H, W) uint8 of the host to where the measurement begins."""
        return images.pin_memory() if self.device.type == 'cuda' else images

    def facts(self) -> dict[str, Any]:
        """What is known before the first time."""
        return dict(
            version=self.version,
            parameters=sum(p.numel() for p in self.model.parameters()),
            image_shape=self.image_shape(),
            threads=torch.get_num_threads(),
        )

    def prepare(self, image_shape: tuple[int, int, int], warm_up: int) -> None:
        """Make the batch, do it a few times, begin to watch the memory."""
        images = synthetic_images(self.work.batch, image_shape, self.work.seed)
        self.images = self.place(images)
        self.memory.start()
        self.run(warm_up)
        self.memory.reset()

    def run(self, times: int) -> float:
        """Seconds of one time."""
        self._wait()
        start = time.perf_counter()
        for _ in range(times):
            self.once()
        self._wait()
        return (time.perf_counter() - start) / times

    def result(self) -> dict[str, Any]:
        """Peak memory of the timed ones."""
        return dict(memory=self.memory.read())

    def profile(self, rows: int) -> list[dict[str, Any]]:
        """The operators (on a GPU, kernels) that most time is spent in.

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

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


def synthetic_images(batch: int, shape: tuple[int, int, int], seed: int) -> Tensor:
    """Noise (B, C_in, H, W) uint8, the same for everyone with that seed."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=generator)
