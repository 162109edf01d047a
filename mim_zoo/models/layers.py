"""Building blocks of every encoder and decoder.

Legend: B images, N tokens in a sequence, P prefix tokens, L patches, C channels.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Size = tuple[int, int]


def pair(value: int | Sequence[int]) -> Size:
    """(h, w) from one number or two; ValueError for anything else."""
    both = [value, value] if isinstance(value, int) else value
    if not isinstance(both, Sequence) or isinstance(both, str) or len(both) != 2:
        raise ValueError(f'a size: got {value!r}, expected pixels as one int or (h, w)')
    return int(both[0]), int(both[1])


def cells(size: Sequence[int], stride: int) -> Size:
    """Cells of so many pixels down and across (H, W), begun ones too: (h, w)."""
    return -(-size[0] // stride), -(-size[1] // stride)


def resolve_index(index: int, length: int, what: str) -> int:
    """A possibly negative index made non-negative; ValueError when out of range."""
    if not -length <= index < length:
        raise ValueError(
            f'{what}: got index {index}, expected one of {-length}..{length - 1}'
        )
    return index % length


def resolve_indices(indices: Iterable[int], length: int, what: str) -> list[int]:
    """``resolve_index`` of each; ValueError for what is no list of numbers."""
    if not isinstance(indices, Iterable) or isinstance(indices, str):
        raise ValueError(f'{what}: got {indices!r}, expected a list such as [-1]')
    return [resolve_index(index, length, what) for index in indices]


class PatchEmbed(nn.Module):
    """Non-overlapping patches to tokens: (B, C_in, H, W) -> (B, L, C).

    H and W that are no multiples of the patch are padded with zeros at the bottom
    and the right.
    """

    def __init__(self, patch_size: int, in_channels: int, embed_dim: int):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        h, w = images.shape[-2:]
        pad = (-w % self.patch_size, -h % self.patch_size)
        if any(pad):
            images = F.pad(images, (0, pad[0], 0, pad[1]))
        return self.proj(images).flatten(2).transpose(1, 2)


class DropPath(nn.Module):
    """Stochastic depth per sample (1603.09382): the branch is dropped at ``rate``."""

    def __init__(self, rate: float = 0.0):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop path rate: got {rate}, expected 0 <= rate < 1')
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        shape = (x.shape[0],) + (1,) * (x.ndim - 1)
        kept = x.new_empty(shape).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)

    def extra_repr(self) -> str:
        return f'rate={self.rate:.3f}'


def growing_rates(rate: float, depth: int) -> list[float]:
    """Drop path rates of so many blocks, from 0 in the first to ``rate``."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]


class Attention(nn.Module):
    """Multi-head self-attention, (B, N, C) -> (B, N, C).

    ``mask``, broadcast to (B, heads, N, N), is True where a token may look, or is added
    to the logits.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        if dim % num_heads:
            raise ValueError(
                f'width {dim} cannot be split over {num_heads} attention heads'
            )
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, heads, N, C / heads)
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(q.dtype)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(x.transpose(1, 2).reshape(B, N, C))


class Mlp(nn.Module):
    """Linear, GELU, linear; (..., C) -> (..., C)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block, the unit of compile, FSDP and checkpointing.

    ``attn`` takes the place of plain attention; what ``forward`` gets after the tokens
    goes to it. ``layer_scale``: a factor per channel of each branch, of that value at
    first (LayerScale, 2103.17239), called as in BEiT (2106.08254).
    """

    gamma_1: nn.Parameter | None
    gamma_2: nn.Parameter | None

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        norm_eps: float = 1e-6,
        attn: nn.Module | None = None,
        layer_scale: float | None = None,
    ):
        super().__init__()
        self.layer_scale = layer_scale
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads) if attn is None else attn
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)
        for name in ('gamma_1', 'gamma_2'):
            scaled = layer_scale is not None
            setattr(self, name, nn.Parameter(torch.empty(dim)) if scaled else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Those of its own; layers below are the model's affair."""
        for gamma in (self.gamma_1, self.gamma_2):
            if gamma is not None and self.layer_scale is not None:
                nn.init.constant_(gamma, self.layer_scale)

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        x = x + self.drop_path(times(self.attn(self.norm1(x), *context), self.gamma_1))
        return x + self.drop_path(times(self.mlp(self.norm2(x)), self.gamma_2))


def blocks_of(model: nn.Module) -> list[Block]:
    """All blocks of a model's encoders and decoders."""
    return [part for part in model.modules() if isinstance(part, Block)]


def run_block(block: nn.Module, with_cp: bool, x: Tensor, *context: Any) -> Tensor:
    """Tokens after a block, which ``with_cp`` computes again in the backward pass."""
    if with_cp and torch.is_grad_enabled():
        return checkpoint(block, x, *context, use_reentrant=False)
    return block(x, *context)


def times(x: Tensor, factor: Tensor | None) -> Tensor:
    """The product, if there is a factor."""
    return x if factor is None else x * factor


class PatchMerging(nn.Module):
    """Four neighbours become one token of twice the width (Swin, 2103.14030).

    Their order is (row, column) offset (0, 0), (1, 0), (0, 1), (1, 1). An odd grid is
    padded with zeros at the bottom and the right.
    """

    def __init__(self, dim: int, norm_eps: float = 1e-5):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim, eps=norm_eps)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor, grid: Size) -> Tensor:
        """(B, h * w, C) to (B, ceil(h / 2) * ceil(w / 2), 2 C)."""
        x = x.unflatten(1, grid)
        if grid[0] % 2 or grid[1] % 2:
            x = F.pad(x, (0, 0, 0, grid[1] % 2, 0, grid[0] % 2))
        B, h, w, C = x.shape
        x = x.reshape(B, h // 2, 2, w // 2, 2, C).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(x.reshape(B, -1, 4 * C)))


def same_group(groups: Tensor | None, prefix_tokens: int) -> Tensor | None:
    """Who may look at whom, (B | 1, 1, N, N), from a label per token (B | 1, L).

    None when everybody may. Prefix tokens would see every group and leak.
    """
    if groups is None:
        return None
    if prefix_tokens:
        raise ValueError(
            f'grouped attention with {prefix_tokens} prefix token(s): a class token '
            'attends to both images and leaks; build the encoder with '
            'class_token=False'
        )
    return (groups[:, :, None] == groups[:, None, :])[:, None]


def init_transformer(module: nn.Module) -> None:
    """MAE's random init: linear layers Xavier-uniform, biases 0, LayerNorm 1 and 0.

    A patch embedding is treated as the linear layer that it is; its bias keeps the
    default of ``nn.Conv2d``.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm | Block):
            part.reset_parameters()
        elif isinstance(part, PatchEmbed):
            part.proj.reset_parameters()
            nn.init.xavier_uniform_(part.proj.weight.view(part.proj.out_channels, -1))
