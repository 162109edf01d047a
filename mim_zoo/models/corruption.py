"""How patches are hidden, and what each side of the model sees of it.

Legend: B images, V views (V >= B), L patches on the prediction grid, L' tokens at the
stem (more than L if it is finer), K tokens the encoder gets, C channels, D target size.
A mask is True where a patch is hidden.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mim_zoo.datasets.masking import repeat_cells
from mim_zoo.registry import MODELS

from .layers import Size


def gather_tokens(x: Tensor, index: Tensor) -> Tensor:
    """Pick tokens per image: x (B, N, C), index (B, K) -> (B, K, C)."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


def mask_at_stem(mask: Tensor, grid: Size, length: int) -> Tensor:
    """A mask (B | 1, L) on the grid (h, w), repeated for a finer stem: (B | 1, L')."""
    factor = math.isqrt(length // mask.shape[1])
    assert mask.shape[1] * factor**2 == length, 'MIM.complete checks the size'
    return repeat_cells(mask, grid, factor)


def hidden_count(mask: Tensor) -> int:
    """Hidden patches of each image of a mask (B, L), as many in all; a device sync."""
    counts = mask.sum(dim=1)
    low, high = int(counts.min()), int(counts.max())
    if low != high:
        raise ValueError(
            f'dropping patches: got masks that hide from {low} to {high} patches, '
            'expected the same number in every image of a batch; make the masks '
            'equal or use MaskPatches'
        )
    return low


@dataclass(frozen=True)
class Plan:
    """Who is hidden from whom in one batch; identity but for what a subclass says.

    mask (V, L) bool, True = hidden in that view = scored; grid (h, w), h * w = L;
    num_hidden patches per image, if known.
    """

    mask: Tensor
    grid: Size
    num_hidden: int | None

    @property
    def given(self) -> Tensor:
        """The mask of the images (B | 1, L) that this was made from."""
        return self.mask

    def hide(self, tokens: Tensor, pos: Tensor) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, L', C) and positions (1, L', C) to what the encoder gets.

        Returns (B, K, C) with positions added, and None or a group label per token,
        (B | 1, L').
        """
        raise NotImplementedError

    def reveal(self, features: Tensor, mask_token: Tensor | None) -> Tensor:
        """Complete encoded patches (B, K, C) to (V, L, C); no prefix tokens here."""
        return features

    def align(self, target: Tensor) -> Tensor:
        """Targets of the images (B, L, D) as targets of the views (V, L, D)."""
        return target

    def views_of(self, batch_size: int) -> list[list[int]]:
        """The views in which each of B images is predicted."""
        owner = self.align(torch.arange(batch_size).view(-1, 1, 1)).flatten().tolist()
        return [
            [v for v, image in enumerate(owner) if image == i]
            for i in range(batch_size)
        ]


@dataclass(frozen=True)
class Drop(Plan):
    """The encoder sees the visible patches only (MAE, 2111.06377); V = B.

    keep (B, K): visible patches in image order; restore (B, L): where each patch of
    the image stands in [visible, hidden].
    """

    keep: Tensor
    restore: Tensor

    def hide(self, tokens: Tensor, pos: Tensor) -> tuple[Tensor, None]:
        """Keep K of L tokens."""
        return gather_tokens(tokens + pos, self.keep), None

    def reveal(self, features: Tensor, mask_token: Tensor | None) -> Tensor:
        """Append mask tokens, then put every token at its place in the image."""
        assert mask_token is not None, 'DropPatches.needs_mask_token is True'
        B, K, _ = features.shape
        missing = self.restore.shape[1] - K
        filler = mask_token.to(features.dtype).expand(B, missing, -1)
        return gather_tokens(torch.cat([features, filler], dim=1), self.restore)


@dataclass(frozen=True)
class Replace(Plan):
    """The encoder sees all places, hidden ones as ``token`` (1, 1, C); V = B."""

    token: Tensor

    def hide(self, tokens: Tensor, pos: Tensor) -> tuple[Tensor, None]:
        """Put the token in, then add positions, so that it knows where it is."""
        token = self.token.to(tokens.dtype)
        hidden = mask_at_stem(self.mask, self.grid, tokens.shape[1])
        return torch.where(hidden[..., None], token, tokens) + pos, None


@dataclass(frozen=True)
class Mix(Plan):
    """Each image is mixed with a partner, and both are predicted (MixMIM, 2205.13137).

    The partner is the image at the same place from the end of the batch. V = 2 B: view
    i completes image i from its own patches in mixture i, view B + i the partner from
    the others; so over the batch every patch is predicted once, where it was hidden.
    second (B | 1, L): the places of mixture i that show the partner.
    """

    second: Tensor

    @property
    def given(self) -> Tensor:
        """Hidden in an image is what shows its partner."""
        return self.second

    def hide(self, tokens: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Blend, then add positions; the two images are two groups."""
        second = mask_at_stem(self.second, self.grid, tokens.shape[1])
        mixed = torch.where(second[..., None], tokens.flip(0), tokens)
        return mixed + pos, second

    def reveal(self, features: Tensor, mask_token: Tensor | None) -> Tensor:
        """Either image with mask tokens at the places of the other, (2 B, L, C)."""
        assert mask_token is not None, 'MixImages.needs_mask_token is True'
        token = mask_token.to(features.dtype)
        second = self.second[..., None]
        own = torch.where(second, token, features)
        return torch.cat([own, torch.where(second, features, token)])

    def align(self, target: Tensor) -> Tensor:
        """Targets of the images, then of their partners."""
        return torch.cat([target, target.flip(0)])


class Corruption(nn.Module):
    """Turns a mask into a plan. Subclasses say how patches are hidden.

    Args:
        channels, prefix_tokens, whole_grid, needs_groups: of the encoder, handed down
            by ``MIM``: width of its stem, its class tokens, and see ``Encoder``.
    """

    needs_mask_token: bool  # in the decoder, which makes none otherwise
    makes_groups = False
    masking = 'RandomMasking'  # what to advise where masks are missing

    def __init__(
        self,
        channels: int,
        prefix_tokens: int = 0,
        whole_grid: bool = False,
        needs_groups: bool = False,
    ):
        super().__init__()
        if needs_groups and not self.makes_groups:
            raise ValueError(
                f'{type(self).__name__}: got an encoder with embeddings of groups, '
                "which it makes none of; leave out group_mode='embedding'"
            )
        self.channels = channels
        self.prefix_tokens = prefix_tokens
        self.whole_grid = whole_grid

    def plan(
        self, mask: Tensor, batch_size: int, grid: Size, num_hidden: int | None = None
    ) -> Plan:
        """Plan for a batch from a mask (B | 1, L); num_hidden per image if known."""
        raise NotImplementedError


def check_mask(mask: Tensor, batch_size: int, grid: Size) -> Tensor:
    """The mask as (B, L) bool; ValueError when it does not fit the images."""
    wanted = (batch_size, grid[0] * grid[1])
    if mask.ndim != 2 or mask.shape[0] not in (1, batch_size):
        raise ValueError(
            f'mask: got shape {tuple(mask.shape)}, expected (B, L) = {wanted} or (1, L)'
        )
    if mask.shape[1] != wanted[1] or mask.dtype != torch.bool:
        raise ValueError(
            f'mask: got {mask.shape[1]} places of {mask.dtype}, expected {wanted[1]} '
            f'of torch.bool (grid {grid[0]} x {grid[1]}, True = hidden)'
        )
    return mask.expand(batch_size, -1)


def check_both_kinds(num_hidden: int, num_patches: int) -> None:
    """ValueError unless some patches are hidden and some are visible."""
    if not 0 < num_hidden < num_patches:
        raise ValueError(
            f'mask: got {num_hidden} of {num_patches} patches hidden, expected at '
            'least one hidden and one visible; change the ratio or, if the patches are '
            'so few, the patch size (or the cell of the masking)'
        )


@MODELS.register_module()
class DropPatches(Corruption):
    """Hidden patches are dropped before the encoder (MAE, 2111.06377)."""

    needs_mask_token = True

    def __init__(self, channels: int, **facts: Any):
        super().__init__(channels, **facts)
        if self.whole_grid:
            raise ValueError(
                'DropPatches: got an encoder with windows, merged patches or relative '
                'positions, which needs all tokens; use MixImages or MaskPatches'
            )

    def plan(
        self, mask: Tensor, batch_size: int, grid: Size, num_hidden: int | None = None
    ) -> Drop:
        """Sort every image's patches into visible and hidden ones."""
        mask = check_mask(mask, batch_size, grid)
        if num_hidden is None:
            num_hidden = hidden_count(mask)
        check_both_kinds(num_hidden, mask.shape[1])
        order = mask.to(torch.uint8).argsort(dim=1, stable=True)  # visible first
        keep = order[:, : mask.shape[1] - num_hidden]
        return Drop(mask, grid, num_hidden, keep, order.argsort(1))


@MODELS.register_module()
class MaskPatches(Corruption):
    """Hidden patches become a learned token before the encoder (SimMIM, 2111.09886)."""

    needs_mask_token = False

    def __init__(self, channels: int, **facts: Any):
        super().__init__(channels, **facts)
        self.token = nn.Parameter(torch.empty(1, 1, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random token, N(0, 0.02)."""
        nn.init.normal_(self.token, std=0.02)

    def plan(
        self, mask: Tensor, batch_size: int, grid: Size, num_hidden: int | None = None
    ) -> Replace:
        """Masks may hide any number of patches, image by image."""
        mask = check_mask(mask, batch_size, grid)
        return Replace(mask, grid, num_hidden, self.token)


@MODELS.register_module()
class MixImages(Corruption):
    """Hidden patches show another image, which is predicted too (MixMIM, 2205.13137).

    For ``MixedMasking``, whose masks are equal within each pair, so that every patch is
    predicted exactly once; other masks predict some patches twice and some never.
    """

    needs_mask_token = True
    makes_groups = True
    masking = 'MixedMasking'

    def __init__(self, channels: int, **facts: Any):
        super().__init__(channels, **facts)
        if self.prefix_tokens:
            raise ValueError(
                f'MixImages: got an encoder with {self.prefix_tokens} prefix token(s), '
                'expected none: a class token attends to both images and leaks; build '
                'the encoder with class_token=False'
            )

    def plan(
        self, mask: Tensor, batch_size: int, grid: Size, num_hidden: int | None = None
    ) -> Mix:
        """One mask for the batch stays one, which attention is cheaper with."""
        own = check_mask(mask, batch_size, grid)
        if num_hidden is not None:
            check_both_kinds(num_hidden, mask.shape[1])
        return Mix(torch.cat([own, ~own]), grid, num_hidden, mask)
