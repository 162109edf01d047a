"""The plain vision transformer (2010.11929) as encoder, for every use.

Legend: B images, P prefix tokens, L patches, K tokens given to ``encode``, C channels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .encoder import Encoder
from .grid_attention import GridAttention
from .layers import (
    Attention,
    Block,
    PatchEmbed,
    Size,
    growing_rates,
    init_transformer,
    resolve_indices,
    same_group,
)
from .positions import position_from_file, resample_position, sincos_position
from .relative import (
    RelativeAttention,
    RelativePosition,
    Tabled,
    has_tables,
    join,
    share_with_blocks,
)
from .vit_options import ARCHS, check_positions, check_windows, read_arch
from .windows import cut, uncut


@MODELS.register_module()
class MIMViT(Encoder):
    """Plain ViT whose parameter names are timm's, the official MAE's and BEiT's.

    Args:
        arch: micro, tiny, small, base, large, huge, or
            dict(embed_dim=, depth=, num_heads=[, mlp_ratio=]).
        img_size: (H, W) the position table is made for; other sizes resample it.
        patch_size: pixels; None takes the architecture's own (14 for huge, else 16).
        out_indices: blocks whose maps ``forward`` returns; the last one is normed.
        learned_pos: train the positions (fine-tuning); they stay fixed otherwise.
        final_norm: False when whoever uses the encoder brings a norm of its own.
        rel_pos: a relative position bias over the whole image (BEiT, 2106.08254):
            'shared' by all blocks, or one per 'block', into which a shared one of a
            file is copied. 'decomposed': by rows and columns in each block's windows
            (ViTDet, 2203.16527), without a class token.
        absolute_pos: False for relative positions alone.
        layer_scale: first value of LayerScale (2103.17239); None for none.
        window: side in tokens of the windows that attention stays within, for large
            images; None for the whole image. Borders have smaller windows.
        global_blocks: those that look at the whole image all the same.
        with_cp: recompute blocks in the backward pass instead of storing them.
        frozen_stages: the stem (with it a bias that all blocks share) and so many
            blocks keep their weights; 'all' is the whole encoder, -1 nothing.
    """

    def __init__(
        self,
        arch: str | dict = 'base',
        img_size: int | Sequence[int] = 224,
        patch_size: int | None = None,
        in_channels: int = 3,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (-1,),
        class_token: bool = True,
        learned_pos: bool = False,
        final_norm: bool = True,
        rel_pos: str | None = None,
        absolute_pos: bool = True,
        layer_scale: float | None = None,
        window: int | None = None,
        global_blocks: Sequence[int] = (),
        with_cp: bool = False,
        frozen_stages: int | str = -1,
        init_cfg: dict | None = None,
    ):
        super().__init__(img_size, init_cfg, with_cp)
        check_positions(rel_pos, absolute_pos, learned_pos)
        check_windows(window, global_blocks, rel_pos, class_token)
        self.on_grid = window is not None or rel_pos == 'decomposed'
        self.whole_grid = self.on_grid or rel_pos is not None
        spec = read_arch(arch, ARCHS)
        dim, depth = spec['embed_dim'], spec['depth']
        self.stride = patch_size or spec.get('patch_size', 16)
        self.in_channels = in_channels
        self.num_prefix_tokens = int(class_token)
        self.levels = ((dim, self.stride),) * depth
        self.out_indices = resolve_indices(out_indices, depth, 'out_indices')

        self.patch_embed = PatchEmbed(self.stride, in_channels, dim)
        if class_token:
            self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        grid, heads = self.grid(self.img_size), spec['num_heads']
        if absolute_pos:
            places = self.num_prefix_tokens + grid[0] * grid[1]
            self.pos_embed = nn.Parameter(
                torch.empty(1, places, dim), requires_grad=learned_pos
            )
        self.absolute_pos, self.rel_pos = absolute_pos, rel_pos
        self.window = window
        wide = range(depth) if window is None else global_blocks
        self.global_blocks = {*resolve_indices(wide, depth, 'global_blocks')}
        if rel_pos == 'shared':
            self.rel_pos_bias = RelativePosition(grid, heads, self.num_prefix_tokens)
        ratio = spec.get('mlp_ratio', 4.0)
        self.blocks = nn.ModuleList(
            Block(
                *(dim, heads, ratio, rate),
                attn=self.attention(i, dim, heads),
                layer_scale=layer_scale,
            )
            for i, rate in enumerate(growing_rates(drop_path_rate, depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6) if final_norm else nn.Identity()
        self.reset_parameters()
        self.freeze(frozen_stages)

    def get_stages(self) -> nn.ModuleList:
        """The blocks."""
        return self.blocks

    def attention(self, index: int, dim: int, heads: int) -> Attention | None:
        """That of a block, None for the plain one."""
        grid = self.grid(self.img_size)
        if self.rel_pos == 'block':
            return RelativeAttention(dim, heads, grid, self.num_prefix_tokens)
        if not self.on_grid:
            return None
        side = grid
        if self.window is not None and index not in self.global_blocks:
            side = self.window, self.window
        return GridAttention(dim, heads, side if self.rel_pos else None)

    def reset_parameters(self) -> None:
        """Random init as in MAE (2111.06377); positions become sine-cosine."""
        init_transformer(self)
        for part in self.modules():
            if isinstance(part, Tabled | GridAttention):
                part.reset_parameters()
        if self.num_prefix_tokens:
            nn.init.normal_(self.cls_token, std=0.02)
        if not self.absolute_pos:
            return
        table = sincos_position(self.embed_dim, self.grid(self.img_size))
        with torch.no_grad():
            self.pos_embed.zero_()
            self.pos_embed[:, self.num_prefix_tokens :] = table.to(self.pos_embed)

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C_in, H, W) to tokens (B, L, C) and positions (1, L, C)."""
        self.check_images(images)
        if not self.absolute_pos:
            tokens = self.patch_embed(images)
            dtype = self.patch_embed.proj.weight.dtype  # autocast may make another
            pos = torch.zeros(1, 1, self.embed_dim, dtype=dtype, device=tokens.device)
            return tokens, pos
        pos = resample_position(
            self.pos_embed[:, self.num_prefix_tokens :],
            self.grid(self.img_size),
            self.grid(images.shape[-2:]),
        )
        return self.patch_embed(images), pos

    def with_prefix(self, tokens: Tensor) -> Tensor:
        """The class token and its position in front: (B, P + K, C)."""
        if not self.num_prefix_tokens:
            return tokens
        prefix: Tensor = self.cls_token
        if self.absolute_pos:
            prefix = prefix + self.pos_embed[:, : self.num_prefix_tokens]
        return torch.cat([prefix.expand(tokens.shape[0], -1, -1), tokens], dim=1)

    def encode(
        self,
        tokens: Tensor,
        taps: Sequence[int],
        size: Sequence[int],
        groups: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """Prefix tokens in front, then the blocks: {block: (B, P + K, C)}."""
        contexts = self.contexts(tokens.shape[1], size, groups, tokens.device)
        tokens = self.with_prefix(tokens)
        wanted = {*resolve_indices(taps, len(self.blocks), 'taps')}
        outputs = {}
        for i, block in enumerate(self.blocks[: max(wanted) + 1]):
            tokens = self.run_block(block, tokens, *contexts[i])
            if i in wanted:
                outputs[i] = tokens
        return outputs

    def contexts(
        self,
        length: int,
        size: Sequence[int],
        groups: Tensor | None,
        device: torch.device,
    ) -> list[tuple[Any, ...]]:
        """What each block is told of who may look at whom, and how much."""
        depth, grid = len(self.blocks), self.grid(size)
        if self.whole_grid and length != grid[0] * grid[1]:
            raise ValueError(
                f'rel_pos={self.rel_pos!r}, window={self.window}: got {length} tokens, '
                f'expected a token at each of {grid[0]} x {grid[1]} places of '
                f'{tuple(size)} pixels; drop none, or build the encoder with '
                'rel_pos=None and window=None'
            )
        if self.on_grid:
            return self.grid_contexts(grid, groups, device)
        allowed = same_group(groups, self.num_prefix_tokens)
        if self.rel_pos == 'shared':
            return [(join(self.rel_pos_bias.bias(grid), allowed),)] * depth
        return [(allowed, grid) if self.rel_pos else (allowed,)] * depth

    def grid_contexts(
        self, grid: Size, groups: Tensor | None, device: torch.device
    ) -> list[tuple[Any, ...]]:
        """The grid and the regions that each block attends in."""
        whole = grid, uncut(grid, groups)
        if self.window is None:
            return [whole] * len(self.blocks)
        local = grid, cut(grid, self.window, groups, device)
        each = range(len(self.blocks))
        return [whole if i in self.global_blocks else local for i in each]

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Embeddings are layer 0, block i is i + 1, all the rest the last one.

        The rest: the final norm, and a table of biases that all blocks share, as in
        BEiT (2106.08254).
        """
        num_layers = len(self.blocks) + 2
        name = param_name.removeprefix(prefix)
        if param_name.startswith(prefix):
            if name.startswith(('cls_token', 'pos_embed', 'patch_embed.')):
                return 0, num_layers
            if name.startswith('blocks.'):
                return int(name.split('.')[1]) + 1, num_layers
        return num_layers - 1, num_layers

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs) -> None:
        if self.rel_pos == 'block':
            share_with_blocks(state_dict, prefix, len(self.blocks))
        key = prefix + 'pos_embed'
        if key in state_dict and self.absolute_pos:
            state_dict[key] = position_from_file(
                state_dict[key],
                self.grid(self.img_size),
                self.num_prefix_tokens,
                key,
                stored_prefix=int(prefix + 'cls_token' in state_dict),
            )
        elif self.absolute_pos and has_tables(state_dict, prefix):
            raise ValueError(
                f'{key}: got a file with relative positions alone, expected absolute '
                'ones too; build the encoder with absolute_pos=False, learned_pos=False'
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
