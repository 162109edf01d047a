"""The hierarchical encoder of MixMIM (2205.13137), for every use and image size.

Legend: B images, L' tokens at the stem, L_s tokens and C_s channels of stage s.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .encoder import Encoder
from .layers import (
    Block,
    PatchEmbed,
    PatchMerging,
    growing_rates,
    init_transformer,
    resolve_indices,
)
from .positions import position_from_file, resample_position, sincos_position
from .stages import StageSpec, read_stages
from .windows import WindowAttention, cut, window_of

EPS = 1e-5  # of every LayerNorm


class NormedPatchEmbed(PatchEmbed):
    """Patches to normed tokens: (B, C_in, H, W) -> (B, L', C)."""

    def __init__(self, patch_size: int, in_channels: int, embed_dim: int):
        super().__init__(patch_size, in_channels, embed_dim)
        self.norm = nn.LayerNorm(embed_dim, eps=EPS)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(super().forward(images))


class Stage(nn.Module):
    """Blocks of one width; ``downsample`` leads to the next stage."""

    group_embed: nn.Parameter | None
    downsample: PatchMerging | None

    def __init__(
        self, spec: StageSpec, rates: Sequence[float], embed_groups: bool, last: bool
    ):
        super().__init__()
        self.window = spec.window
        self.blocks = nn.ModuleList(
            Block(
                spec.dim,
                spec.num_heads,
                spec.mlp_ratio,
                rate,
                norm_eps=EPS,
                attn=WindowAttention(spec.dim, spec.num_heads, spec.window),
            )
            for rate in rates
        )
        self.group_embed = (
            nn.Parameter(torch.empty(2, spec.dim)) if embed_groups else None
        )
        self.downsample = None if last else PatchMerging(spec.dim, EPS)


@MODELS.register_module()
class MixMIMViT(Encoder):
    """Stages of windowed blocks, each half as fine and twice as wide as the last one.

    Parameter names are the official ones. Windows do not shift; the later stages see
    the whole image in one. Any H x W: positions and biases are resampled, borders have
    smaller windows.

    Args:
        arch: micro, tiny (for 32 px), base, large, huge, or dict(embed_dim=, depths=,
            num_heads=[, windows=, patch_size=, mlp_ratio=]), the plural ones one number
            per stage.
        img_size: (H, W) the position table is made for; other sizes resample it.
        windows: sides in tokens, one per stage, instead of the architecture's (14, 14,
            14, 7); at 384 px (16, 16, 24, 12). Tables of other windows are resampled.
        out_indices: stages whose maps ``forward`` returns; the last one is normed.
        final_norm: False when whoever uses the encoder brings a norm of its own.
        group_mode: what keeps groups apart: 'attention' within each of them, or an
            'embedding' per group, added at the start of every stage, for pre-training
            only. An image mixed with itself, the middle one of an odd batch, then sees
            what it should predict.
        with_cp: recompute blocks in the backward pass instead of storing them.
        frozen_stages: the stem and so many stages, each with the merging behind it,
            keep their weights; 'all' is the whole encoder, -1 nothing.
    """

    whole_grid = True

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | Sequence[int] = 224,
        in_channels: int = 3,
        windows: Sequence[int] | None = None,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (-1,),
        final_norm: bool = True,
        group_mode: str = 'attention',
        with_cp: bool = False,
        frozen_stages: int | str = -1,
        init_cfg: dict | None = None,
    ):
        super().__init__(img_size, init_cfg, with_cp)
        if group_mode not in ('attention', 'embedding'):
            raise ValueError(
                f"group_mode: got {group_mode!r}, expected 'attention' or 'embedding'"
            )
        self.needs_groups = group_mode == 'embedding'
        specs = read_stages(arch, windows)
        self.in_channels = in_channels
        self.num_prefix_tokens = 0
        self.patch_size, self.stride = specs[0].stride, specs[-1].stride
        self.levels = tuple((s.dim, s.stride) for s in specs for _ in range(s.depth))
        self.ends = list(accumulate(s.depth for s in specs))  # the next stage's first
        stages = resolve_indices(out_indices, len(specs), 'out_indices')
        self.out_indices = [self.ends[s] - 1 for s in stages]

        width = specs[0].dim
        self.patch_embed = NormedPatchEmbed(self.patch_size, in_channels, width)
        h, w = self.grid(self.img_size, self.patch_size)
        self.absolute_pos_embed = nn.Parameter(
            torch.empty(1, h * w, width), requires_grad=False
        )
        rates = growing_rates(drop_path_rate, len(self.levels))
        self.layers = nn.ModuleList(
            Stage(s, rates[end - s.depth : end], self.needs_groups, s is specs[-1])
            for s, end in zip(specs, self.ends)
        )
        self.norm = (
            nn.LayerNorm(specs[-1].dim, eps=EPS) if final_norm else nn.Identity()
        )
        self.reset_parameters()
        self.freeze(frozen_stages)

    def get_stages(self) -> nn.ModuleList:
        """Those of the pyramid."""
        return self.layers

    def reset_parameters(self) -> None:
        """Random init as officially; positions become sine-cosine."""
        init_transformer(self)
        self.patch_embed.proj.reset_parameters()  # no Xavier here
        for part in self.modules():
            if isinstance(part, WindowAttention):
                part.reset_parameters()
            elif isinstance(part, Stage) and part.group_embed is not None:
                nn.init.normal_(part.group_embed, std=0.02)
        grid = self.grid(self.img_size, self.patch_size)
        table = sincos_position(self.levels[0][0], grid)
        with torch.no_grad():
            self.absolute_pos_embed.copy_(table)

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C_in, H, W) to tokens (B, L', C) and positions (1, L', C)."""
        self.check_images(images)
        pos = resample_position(
            self.absolute_pos_embed,
            self.grid(self.img_size, self.patch_size),
            self.grid(images.shape[-2:], self.patch_size),
        )
        return self.patch_embed(images), pos

    def encode(
        self,
        tokens: Tensor,
        taps: Sequence[int],
        size: Sequence[int],
        groups: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """All stages: {block: (B, L_s, C_s)}, before the patches are merged.

        Merged tokens must be of one group: a mask cell holds all that are ever merged.
        """
        wanted = {*resolve_indices(taps, len(self.levels), 'taps')}
        grid = self.grid(size, self.patch_size)
        outputs: dict[int, Tensor] = {}
        x, first = tokens, 0
        for stage, end in zip(cast(list[Stage], self.layers), self.ends):
            labels = groups
            if stage.group_embed is not None and groups is not None:
                x = x + F.embedding(groups.long(), stage.group_embed)
                labels = None
            window = stage.window
            regions = cut(grid, window, labels, x.device, table=window)
            for i, block in enumerate(stage.blocks, first):
                x = self.run_block(block, x, grid, regions)
                if i in wanted:
                    outputs[i] = x
            if len(outputs) == len(wanted) or stage.downsample is None:
                break
            x, first = stage.downsample(x, grid), end
            if groups is not None:
                groups = groups.view(-1, *grid)[:, ::2, ::2].flatten(1)
            grid = -(-grid[0] // 2), -(-grid[1] // 2)
        return outputs

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Embeddings are layer 0, block i is i + 1, all the rest the last one.

        Merging belongs to the block after it.
        """
        num_layers = len(self.levels) + 2
        name = param_name.removeprefix(prefix)
        if param_name.startswith(prefix):
            if name.startswith(('patch_embed.', 'absolute_pos_embed')):
                return 0, num_layers
            if name.startswith('layers.'):
                _, stage, part, *rest = name.split('.')
                starts = [0, *self.ends]
                if part == 'blocks':
                    return starts[int(stage)] + int(rest[0]) + 1, num_layers
                merges = part == 'downsample'
                return starts[int(stage) + merges] + 1, num_layers
        return num_layers - 1, num_layers

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        self._report_windows(state_dict, prefix)
        key = prefix + 'absolute_pos_embed'
        if key in state_dict:
            grid = self.grid(self.img_size, self.patch_size)
            state_dict[key] = position_from_file(state_dict[key], grid, 0, key)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _report_windows(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Say in one line that bias tables of other windows are resampled."""
        own = [cast(Stage, stage).window for stage in self.layers]
        found = list(own)
        for s in range(len(own)):
            name = f'{prefix}layers.{s}.blocks.0.attn.relative_position_bias_table'
            if name in state_dict:
                found[s] = window_of(state_dict[name])
        if found != own:
            print_log(
                f'Bias tables of windows {found} are resampled to {own}.', 'current'
            )
