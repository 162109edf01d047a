"""Which patches are hidden. A mask is True where a patch is hidden.

A mask is a function of a seed per image and the grid, so it does not matter in which
batch, process or order an image is seen. The same classes work on a batch, in
``MIMDataPreprocessor(batch_transforms=[...])``, and on one image in a dataset
pipeline, where they must be told the patch size. Legend: B images, L = h * w patches.
"""

import math

import torch
from torch import Tensor

from mim_zoo.registry import TRANSFORMS


def _signed(constant: int) -> int:
    """64 bits as torch's int64 holds them."""
    return constant - (1 << 64) if constant >> 63 else constant


GOLDEN = _signed(0x9E3779B97F4A7C15)


def mixed_bits(x: Tensor) -> Tensor:
    """The finaliser of splitmix64, value by value: neighbours become unrelated.

    int64 in and out, wrapping round; the same on every device.
    """
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, torch's is arithmetic


def seeded_noise(seeds: Tensor, count: int) -> Tensor:
    """Uniform int64 noise (B, count), row b a function of seeds (B,) [b] alone."""
    places = torch.arange(1, count + 1, device=seeds.device)
    return mixed_bits(mixed_bits(seeds + GOLDEN)[:, None] + GOLDEN * places)


class MaskingTransform:
    """Hide the same number of patches in every image; a subclass says which.

    Args:
        ratio: share of hidden patches; the number of visible ones is rounded down.
        stride: pixels of a mask cell, in a dataset pipeline only (the data
            preprocessor is told by the model).
        seed: in a pipeline, makes an image's mask a function of its index alone.
    """

    def __init__(
        self, ratio: float = 0.75, stride: int | None = None, seed: int | None = None
    ):
        if not 0 < ratio < 1:
            raise ValueError(
                f'{type(self).__name__}: got ratio={ratio}, expected 0 < ratio < 1'
            )
        self.ratio = ratio
        self.stride = stride
        self.seed = seed

    def num_hidden(self, num_patches: int) -> int:
        """Hidden patches of each image: 147 of 196 at 0.75."""
        visible = int(num_patches * (1 - self.ratio) + 1e-6)  # 10 * (1 - 0.9) is < 1
        return num_patches - visible

    def sample(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """Masks (B, L) for seeds (B,), int64 on the CPU; (1, L) for a shared one."""
        raise NotImplementedError

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

    def sample(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """Masks (B, L), drawn on the device; the least noise stays visible."""
        L = grid[0] * grid[1]
        noise = seeded_noise(seeds.to(device, non_blocking=True), L)
        visible = noise.argsort(dim=1)[:, : L - self.num_hidden(L)]
        mask = torch.ones(len(seeds), L, dtype=torch.bool, device=device)
        return mask.scatter(1, visible, False)


@TRANSFORMS.register_module()
class BlockMasking(MaskingTransform):
    """Random rectangles until the ratio is reached exactly (BEiT, 2106.08254).

    Args:
        min_patches: least area of a rectangle, in patches.
        min_aspect: rectangles have height / width from this to its inverse.
    """

    def __init__(
        self,
        ratio: float = 0.4,
        min_patches: int = 16,
        min_aspect: float = 0.3,
        stride: int | None = None,
        seed: int | None = None,
    ):
        super().__init__(ratio, stride, seed)
        if min_patches < 1 or not 0 < min_aspect <= 1:
            raise ValueError(
                f'BlockMasking: got min_patches={min_patches}, min_aspect={min_aspect},'
                ' expected min_patches >= 1 and 0 < min_aspect <= 1'
            )
        self.min_patches = min_patches
        self.min_aspect = min_aspect

    def sample(
        self,
        seeds: Tensor,
        grid: tuple[int, int],
        device: torch.device | str = 'cpu',
    ) -> Tensor:
        """Masks (B, L), drawn on the CPU image by image: use it in a pipeline if the
        training step waits for it.
        """
        generator = torch.Generator()
        masks = [
            self._sample_one(grid, generator.manual_seed(seed))
            for seed in mixed_bits(seeds).tolist()
        ]
        return torch.stack(masks).to(device, non_blocking=True)

    def _sample_one(self, grid: tuple[int, int], generator: torch.Generator) -> Tensor:
        h, w = grid
        mask = torch.zeros(h, w, dtype=torch.bool)
        wanted = self.num_hidden(h * w)
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
