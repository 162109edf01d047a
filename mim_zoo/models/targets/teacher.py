"""Features of another network as targets.

Legend: B images, L patches on the prediction grid, L' tokens of the teacher on its own
grid, P prefix tokens, D target size.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mim_zoo.registry import MODELS

from ..layers import Size, pair
from .base import Target
from .pixels import standardize
from .teachers import Teacher


def resample_tokens(x: Tensor, old: Size, new: Size) -> Tensor:
    """Tokens (B, P + L', D) of one grid on another, (B, P + L, D); P stay as they are.

    Bilinear, with antialiasing towards coarser grids.
    """
    if old == new:
        return x
    prefix, patches = x.split([x.shape[1] - old[0] * old[1], old[0] * old[1]], dim=1)
    maps = patches.transpose(1, 2).unflatten(2, old)
    maps = F.interpolate(maps, size=new, mode='bilinear', antialias=True)
    return torch.cat([prefix, maps.flatten(2).transpose(1, 2)], dim=1)


def teacher_of(student: dict | None) -> dict:
    """The config of a random teacher of the student's own architecture."""
    if student is None:
        raise ValueError(
            'TeacherTarget: got no teacher and no encoder to make one like, expected '
            "teacher=dict(type='EncoderTeacher', ...) or dict(type='TimmTeacher', ...)"
        )
    of_use = ('drop_path_rate', 'frozen_stages', 'init_cfg', 'out_indices', 'with_cp')
    encoder = {k: v for k, v in student.items() if k not in of_use}
    return dict(type='EncoderTeacher', encoder=encoder)


@MODELS.register_module()
class TeacherTarget(Target):
    """What a frozen network says of each patch of the whole image.

    dBOT (2209.03917) takes a copy of its own encoder, without the final norm and
    standardised; DeepMIM (2303.08817) the projected tokens of CLIP; data2vec
    (2202.03555) a mean over several blocks. The images get the statistics that the
    teacher expects, and its tokens are resampled to the prediction grid.

    Args:
        teacher: an ``EncoderTeacher`` or ``TimmTeacher`` config; by default the trained
            encoder's architecture with random weights.
        layers: blocks (of timm's pyramids: stages) counted from 0, negative ones from
            the end. Several are averaged, each standardised if ``normalize``.
        norm: the teacher's final norm on these.
        normalize: zero mean and unit variance of every token.
        size: (H, W) in pixels that the teacher gets the images at; None, as they are.
        **facts: of ``Target``, handed down by ``MIM``.
    """

    teacher: Teacher
    caption = 'features of a teacher'

    def __init__(
        self,
        teacher: dict | None = None,
        layers: Sequence[int] = (-1,),
        norm: bool = True,
        normalize: bool = False,
        size: int | Sequence[int] | None = None,
        **facts: Any,
    ):
        super().__init__(**facts)
        self.teacher = MODELS.build(teacher or teacher_of(self.student))
        self.layers = self.teacher.resolve(layers)
        self.dim = self.teacher.width(self.layers)
        self.norm = norm
        self.normalize = normalize
        self.size = None if size is None else pair(size)
        if self.prefix_tokens not in (0, self.teacher.prefix_tokens):
            raise ValueError(
                f'TeacherTarget: got {self.prefix_tokens} prefix tokens to score and a '
                f'teacher with {self.teacher.prefix_tokens}, expected as many; leave '
                'out score_prefix or take a teacher with a class token'
            )
        expected = self.teacher.statistics
        if expected is not None and self.in_channels not in (1, len(expected[0])):
            raise ValueError(
                f'TeacherTarget: got images of {self.in_channels} channels, expected '
                f'{len(expected[0])}, as {type(self.teacher).__name__} was trained '
                'on, or 1; take another target, such as PixelTarget'
            )
        self.teacher.freeze()

    def check_prefix(self) -> None:
        """A teacher may have prefix tokens, too."""

    def load(self) -> None:
        """Read the teacher's weights, once."""
        self.teacher.load()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, P + L, D)."""
        self.load()
        grid = self.grid(images.shape[-2:])
        levels = self.teacher(self.prepare(images), self.layers, self.norm)
        tokens = [self.read(x, old, grid) for x, old in levels]
        target = torch.stack(tokens).mean(0) if len(tokens) > 1 else tokens[0]
        return standardize(target) if self.normalize and len(tokens) > 1 else target

    def prepare(self, images: Tensor) -> Tensor:
        """Our normalised images (B, C_in, H, W) as the teacher was trained on them."""
        if self.teacher.statistics is not None:
            mean, std = (v.view(-1, 1, 1) for v in self.teacher.statistics)
            images = (images * self.std + (self.mean - mean)) / std
        if self.size is not None and self.size != images.shape[-2:]:
            images = F.interpolate(
                images, size=self.size, mode='bicubic', antialias=True
            )
        return images

    def read(self, x: Tensor, old: Size, grid: Size) -> Tensor:
        """One level (B, P' + L', D) as a target, fp32."""
        if not self.prefix_tokens:
            x = x[:, x.shape[1] - old[0] * old[1] :]
        x = resample_tokens(x.float(), old, grid)
        return standardize(x) if self.normalize else x
