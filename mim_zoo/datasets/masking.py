"""Which patches are hidden. A mask is True where a patch is hidden.

A mask is a function of a seed per image and the grid, so it does not matter in which
batch, process or order an image is seen; but for ``MixedMasking``, whose images share
masks, which follow from the batch they are in. The same classes work on a batch, in
``MIMDataPreprocessor(batch_transforms=[...])``, and on one image in a dataset
pipeline, where they must be told the patch size. Legend: B images, L = h * w patches.
"""

import math
from typing import Any

import torch
from torch import Tensor

from mim_zoo.registry import TRANSFORMS

from .noise import mixed_bits, seeded_noise


def repeat_cells(mask: Tensor, grid: tuple[int, int], factor: int) -> Tensor:
    """A mask (B, h * w) on a grid so many times finer each way, (B, h * w * factor^2).

    Both are row-major.
    """
    if factor == 1:
        return mask
    h, w = grid
    cells = mask.view(-1, h, 1, w, 1).expand(-1, h, factor, w, factor)
    return cells.reshape(len(mask), -1)


class MaskingTransform:
    """Hide the same number of patches in every image; a subclass says which.

    Args:
        ratio: share of hidden patches; the number of visible ones is rounded down.
        stride: pixels of a patch, in a dataset pipeline only (the data preprocessor is
            told by the model).
        seed: in a pipeline, makes an image's mask a function of its index alone.
        cell: hide squares of so many patches a side (SimMIM, 2111.09886, takes 2 at
            patch 16).
    """

    def __init__(
        self,
        ratio: float = 0.75,
        stride: int | None = None,
        seed: int | None = None,
        cell: int = 1,
    ):
        if not 0 < ratio < 1:
            raise ValueError(
                f'{type(self).__name__}: got ratio={ratio}, expected 0 < ratio < 1'
            )
        if not isinstance(cell, int) or cell < 1:
            raise ValueError(
                f'{type(self).__name__}: got cell={cell}, expected a whole number of '
                'patches, at least 1'
            )
        self.ratio = ratio
        self.stride = stride
        self.seed = seed
        self.cell = cell

    def hidden_cells(self, count: int) -> int:
        """How many of so many cells are hidden."""
        visible = int(count * (1 - self.ratio) + 1e-6)  # 10 * (1 - 0.9) is < 1
        return count - visible

    def num_hidden(self, grid: tuple[int, int]) -> int:
        """Hidden patches of each image: 147 of 14 x 14 at 0.75."""
        h, w = self._cells(grid)
        return self.hidden_cells(h * w) * self.cell**2

    def sample(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """Masks (B, L) for seeds (B,), int64 on the CPU; (1, L) for a shared one."""
        h, w = self._cells(grid)
        mask = self.draw(seeds, (h, w), self.hidden_cells(h * w), device)
        return repeat_cells(mask, (h, w), self.cell)

    def draw(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        hidden: int,
        device: torch.device | str,
    ) -> Tensor:
        """Masks (B, h * w) that hide so many cells of a grid (h, w)."""
        raise NotImplementedError

    def _cells(self, grid: tuple[int, int]) -> tuple[int, int]:
        if grid[0] % self.cell or grid[1] % self.cell:
            raise ValueError(
                f'{type(self).__name__}: got {grid[0]} x {grid[1]} patches, expected '
                f'multiples of cell={self.cell}; crop or resize the images'
            )
        return grid[0] // self.cell, grid[1] // self.cell

    def __call__(self, results: dict) -> dict:
        """Write ``mask`` (L,) for the image ``img`` (H, W, C) of a pipeline."""
        if self.stride is None:
            raise ValueError(
                f'{type(self).__name__} in a dataset pipeline: got no stride, expected '
                "the encoder's patch size in pixels, such as stride=16"
            )
        h, w = (-(-n // self.stride) for n in results['img'].shape[:2])
        if self.seed is None:
            seed = torch.randint(2**62, (1,))  # from the seed of this draw
        else:
            seed = torch.tensor([self.seed * 2**32 + results['sample_idx']])
        results['mask'] = self.sample(seed, (h, w))[0]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio={self.ratio}, stride={self.stride})'


@TRANSFORMS.register_module()
class RandomMasking(MaskingTransform):
    """Uniformly random patches, image by image (MAE, 2111.06377)."""

    def draw(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        hidden: int,
        device: torch.device | str,
    ) -> Tensor:
        """(B, h * w), drawn on the device; the least noise stays visible."""
        L = grid[0] * grid[1]
        noise = seeded_noise(seeds.to(device, non_blocking=True), L)
        visible = noise.argsort(dim=1)[:, : L - hidden]
        mask = torch.ones(len(seeds), L, dtype=torch.bool, device=device)
        return mask.scatter(1, visible, False)


@TRANSFORMS.register_module()
class BlockMasking(MaskingTransform):
    """Random rectangles until the ratio is reached exactly (BEiT, 2106.08254).

    Args:
        min_patches: least area of a rectangle, in patches.
        min_aspect: rectangles have height / width from this to its inverse.
        **options: of ``MaskingTransform``.
    """

    def __init__(
        self,
        ratio: float = 0.4,
        min_patches: int = 16,
        min_aspect: float = 0.3,
        **options: Any,
    ):
        super().__init__(ratio, **options)
        if min_patches < 1 or not 0 < min_aspect <= 1:
            raise ValueError(
                f'BlockMasking: got min_patches={min_patches}, min_aspect={min_aspect},'
                ' expected min_patches >= 1 and 0 < min_aspect <= 1'
            )
        self.min_patches = min_patches
        self.min_aspect = min_aspect

    def draw(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        hidden: int,
        device: torch.device | str,
    ) -> Tensor:
        """(B, h * w), drawn on the CPU image by image: use it in a pipeline if the
        training step waits for it.
        """
        generator = torch.Generator()
        masks = [
            self._draw_one(grid, hidden, generator.manual_seed(seed))
            for seed in mixed_bits(seeds).tolist()
        ]
        return torch.stack(masks).to(device, non_blocking=True)

    def _draw_one(
        self, grid: tuple[int, int], wanted: int, generator: torch.Generator
    ) -> Tensor:
        h, w = grid
        mask = torch.zeros(h, w, dtype=torch.bool)
        left = wanted
        for _ in range(10 * wanted):  # rectangles that do not fit are drawn again
            if left < 1:
                break
            area, aspect, y, x = torch.rand(4, generator=generator).tolist()
            least = min(self.min_patches, left)
            area = least + area * (left - least)
            aspect = math.exp((2 * aspect - 1) * math.log(self.min_aspect))
            bh = min(max(round(math.sqrt(area * aspect)), 1), h)
            bw = min(max(round(math.sqrt(area / aspect)), 1), w)
            top, start = int(y * (h - bh + 1)), int(x * (w - bw + 1))
            block = mask[top : top + bh, start : start + bw]
            new = block.numel() - int(block.sum())
            if 0 < new <= left:
                block.fill_(True)
                left -= new
        mask = mask.flatten()
        if left:  # no rectangle fits any more: single patches
            free = (~mask).nonzero().flatten()
            pick = torch.randperm(len(free), generator=generator)[:left]
            mask[free[pick]] = True
        return mask


@TRANSFORMS.register_module()
class MixedMasking(MaskingTransform):
    """Masks for images that are mixed in pairs (MixMIM, 2205.13137).

    Two mixed images, the first and the last of the batch and so on, always have the
    same mask, so that each patch is hidden in just one of their two mixtures. The
    number of hidden patches is rounded down: 24 of 49.

    Args:
        per_pair: a mask for every pair; by default one for the whole batch (of each
            process), as published, a function of its first image's seed. Masked
            attention then needs a bias for every image, which costs memory.
        pattern: 'RandomMasking' or 'BlockMasking'.
        cell, **options: of the pattern.
    """

    def __init__(
        self,
        ratio: float = 0.5,
        per_pair: bool = False,
        pattern: str = 'RandomMasking',
        cell: int = 1,
        **options: Any,
    ):
        super().__init__(ratio, cell=cell)
        patterns: dict[str, type[MaskingTransform]] = dict(
            RandomMasking=RandomMasking, BlockMasking=BlockMasking
        )
        if pattern not in patterns:
            raise ValueError(
                f'MixedMasking: got pattern={pattern!r}, expected one of '
                f'{list(patterns)}'
            )
        known = {'min_patches', 'min_aspect'} if pattern == 'BlockMasking' else set()
        if unknown := options.keys() - known:
            raise ValueError(
                f'MixedMasking: got {sorted(unknown)}, expected only '
                f'{sorted(known) or "cell"} beside pattern={pattern!r}'
            )
        self.per_pair = per_pair
        self.pattern = patterns[pattern](ratio, **options)

    def hidden_cells(self, count: int) -> int:
        """How many of so many cells show the partner."""
        return int(count * self.ratio + 1e-6)

    def draw(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        hidden: int,
        device: torch.device | str,
    ) -> Tensor:
        """(1, h * w), or (B, h * w) equal within each pair."""
        if self.per_pair:  # mixed, for neighbours add up to the same in every pair
            seeds = mixed_bits(seeds)
            seeds = seeds + seeds.flip(0)
        else:
            seeds = seeds[:1]
        return self.pattern.draw(seeds, grid, hidden, device)

    def __call__(self, results: dict) -> dict:
        """Not in a pipeline: one image has no partner."""
        raise ValueError(
            'MixedMasking in a dataset pipeline: got one image, expected a batch that '
            'shares a mask; put it into batch_transforms of the data preprocessor'
        )
