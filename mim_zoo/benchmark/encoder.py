"""An encoder alone, as it works in a detector, in a process of its own."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import mim_zoo
import mim_zoo.engine  # fills its registries
from mim_zoo.registry import MODELS

from .measured import Measured, Work
from .sides import Side


@dataclass(frozen=True)
class EncoderWork(Work):
    """Forward, or with ``backward`` a pass there and back, of images (H, W)."""

    backward: bool = False
    image_size: tuple[int, int] | None = None  # its own img_size


class EncoderPass(Measured):
    """An encoder's maps of float images that are on the device already."""

    model: Any  # Encoder
    work: EncoderWork

    def __init__(self, side: Side, work: EncoderWork):
        super().__init__(side, work)
        self.version = mim_zoo.__version__
        self.model = MODELS.build(side.model)
        self.model.to(self.device).train(work.backward)
        self.compile()

    def image_shape(self) -> tuple[int, ...]:
        """The wanted one, or what the encoder's tables are made for."""
        return (self.model.in_channels, *(self.work.image_size or self.model.img_size))

    def place(self, images: Tensor) -> Tensor:
        """To floats on the device, of about unit variance."""
        return images.to(self.device).float().sub_(127.5).div_(73.9)

    def once(self) -> None:
        """A pass, under autocast if of half precision."""
        self._pass(self.images)

    def flops_per_image(self) -> float:
        """As of a training step. The last call: only the shapes of the weights stay.

        Otherwise the scores of all tokens of a large image would have to fit.
        """
        self.uncompile()
        self.model.to('meta')
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH):
            self._pass(self.images[:1].to('meta'))
        return counter.get_total_flops()

    def _pass(self, images: Tensor) -> None:
        half = self.work.dtype == 'bf16'
        with (
            torch.set_grad_enabled(self.work.backward),
            torch.autocast(self.device.type, torch.bfloat16, enabled=half),
        ):
            maps = self.model(images)
        if self.work.backward:
            torch.stack([x.float().mean() for x in maps]).sum().backward()
            self.model.zero_grad()
