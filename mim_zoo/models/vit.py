"""The plain vision transformer (2010.11929) as encoder, for every use.

Legend: B images, P prefix tokens, L patches, K tokens given to ``encode``, C channels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .encoder import Encoder
from .layers import (
    Block,
    PatchEmbed,
    growing_rates,
    init_transformer,
    position_from_file,
    resample_position,
    resolve_index,
    same_group,
    sincos_position,
)
from .relative import (
    RelativeAttention,
    RelativePosition,
    Tabled,
    join,
    share_with_blocks,
)

ARCHS: dict[str, dict[str, int]] = {
    'micro': dict(embed_dim=96, depth=6, num_heads=3),
    'tiny': dict(embed_dim=192, depth=12, num_heads=3),
    'small': dict(embed_dim=384, depth=12, num_heads=6),  # DeiT-S
    'base': dict(embed_dim=768, depth=12, num_heads=12),
    'large': dict(embed_dim=1024, depth=24, num_heads=16),
    'huge': dict(embed_dim=1280, depth=32, num_heads=16, patch_size=14),
}


def read_arch(arch: str | dict, known: dict[str, dict]) -> dict[str, Any]:
    """The numbers of an architecture given by name or as a dict."""
    if isinstance(arch, dict):
        needed = {'embed_dim', 'depth', 'num_heads'}
        if missing := needed - arch.keys():
            raise ValueError(f'arch {arch}: lacks {sorted(missing)}')
        if unknown := arch.keys() - needed - {'mlp_ratio'}:
            raise ValueError(
                f'arch {arch}: got {sorted(unknown)}, expected '
                f'{sorted(needed)} and perhaps mlp_ratio'
            )
        return dict(arch)
    if arch not in known:
        raise ValueError(
            f'arch: got {arch!r}, expected one of {list(known)} or '
            'dict(embed_dim=..., depth=..., num_heads=...)'
        )
    return dict(known[arch])


def check_positions(rel_pos: str | None, absolute: bool, learned: bool) -> None:
    """ValueError unless something tells the places of an image apart."""
    if rel_pos not in (None, 'shared', 'block'):
        raise ValueError(
            f"rel_pos: got {rel_pos!r}, expected 'shared', 'block' or None"
        )
    if not absolute and (learned or rel_pos is None):
        raise ValueError(
            f'absolute_pos=False: got rel_pos={rel_pos!r} and learned_pos={learned}, '
            "expected rel_pos='shared' or 'block', and no positions to learn: nothing "
            'else would tell the places apart'
        )


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
            file is copied.
        absolute_pos: False for relative positions alone.
        layer_scale: first value of LayerScale (2103.17239); None for none.
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
        init_cfg: dict | None = None,
    ):
        super().__init__(img_size, init_cfg)
        check_positions(rel_pos, absolute_pos, learned_pos)
        self.whole_grid = rel_pos is not None
        spec = read_arch(arch, ARCHS)
        dim, depth = spec['embed_dim'], spec['depth']
        self.stride = patch_size or spec.get('patch_size', 16)
        self.in_channels = in_channels
        self.num_prefix_tokens = int(class_token)
        self.levels = ((dim, self.stride),) * depth
        self.out_indices = [resolve_index(i, depth, 'out_indices') for i in out_indices]

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
        if rel_pos == 'shared':
            self.rel_pos_bias = RelativePosition(grid, heads, self.num_prefix_tokens)
        self.blocks = nn.ModuleList()
        for rate in growing_rates(drop_path_rate, depth):
            attn = None
            if rel_pos == 'block':
                attn = RelativeAttention(dim, heads, grid, self.num_prefix_tokens)
            ratio = spec.get('mlp_ratio', 4.0)
            block = Block(dim, heads, ratio, rate, attn=attn, layer_scale=layer_scale)
            self.blocks.append(block)
        self.norm = nn.LayerNorm(dim, eps=1e-6) if final_norm else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random init as in MAE (2111.06377); positions become sine-cosine."""
        init_transformer(self)
        for part in self.modules():
            if isinstance(part, Tabled):
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
            # fp32 under autocast too, as the sum with positions is
            return tokens, torch.zeros(1, 1, tokens.shape[2], device=tokens.device)
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
        allowed = same_group(groups, self.num_prefix_tokens)
        context = self.looks(tokens.shape[1], size, allowed)
        tokens = self.with_prefix(tokens)
        wanted = {resolve_index(i, len(self.blocks), 'taps') for i in taps}
        outputs = {}
        for i, block in enumerate(self.blocks[: max(wanted) + 1]):
            tokens = block(tokens, *context)
            if i in wanted:
                outputs[i] = tokens
        return outputs

    def looks(
        self, length: int, size: Sequence[int], allowed: Tensor | None
    ) -> tuple[Any, ...]:
        """What blocks are told of who may look at whom, and how much."""
        if self.rel_pos is None:
            return (allowed,)
        grid = self.grid(size)
        if length != grid[0] * grid[1]:
            raise ValueError(
                f'rel_pos={self.rel_pos!r}: got {length} tokens, expected a token at '
                f'each of {grid[0]} x {grid[1]} places of {tuple(size)} pixels; drop '
                'none, or build the encoder with rel_pos=None'
            )
        if self.rel_pos == 'block':
            return allowed, grid
        return (join(self.rel_pos_bias.bias(grid), allowed),)

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
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
