"""Masks: their counts, shapes, and what they depend on."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mim_zoo.datasets.masking import (
    BlockMasking,
    MaskingTransform,
    RandomMasking,
)
from mim_zoo.datasets.noise import mixed_bits


@pytest.mark.parametrize('kind', [RandomMasking, BlockMasking])
@pytest.mark.parametrize('grid', [(14, 14), (16, 16), (8, 8), (2, 5), (1, 12), (3, 1)])
@pytest.mark.parametrize('ratio', [0.05, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95])
def test_counts_are_exact(
    kind: type[MaskingTransform], grid: tuple[int, int], ratio: float
) -> None:
    masking = kind(ratio=ratio)
    patches = grid[0] * grid[1]
    mask = masking.sample(torch.arange(4), grid)
    assert mask.shape == (4, patches)
    assert mask.dtype == torch.bool
    visible = int(round(patches * (1 - ratio), 6))  # rounded down, but for float noise
    assert masking.num_hidden(grid) == patches - visible
    assert (mask.sum(1) == patches - visible).all()


@pytest.mark.parametrize(
    'ratio, patches, hidden',
    [(0.75, 196, 147), (0.75, 256, 192), (0.9, 10, 9), (0.6, 196, 118), (0.4, 196, 79)],
)
def test_counts_of_the_papers(ratio: float, patches: int, hidden: int) -> None:
    assert RandomMasking(ratio).num_hidden((1, patches)) == hidden


def test_random_masks_are_uniform_and_independent() -> None:
    mask = RandomMasking(0.75).sample(torch.arange(4000), (4, 4)).float()
    assert (mask.mean(0) - 0.75).abs().max() < 0.03  # every place alike
    together = (mask.T @ mask / 4000)[~torch.eye(16, dtype=torch.bool)]
    assert (together - 12 * 11 / (16 * 15)).abs().max() < 0.03  # and every pair
    following = (mask[1:] * mask[:-1]).mean()  # neighbouring seeds know nothing
    assert (following - 0.75**2).abs() < 0.01
    assert len({tuple(row) for row in mask.int().tolist()}) > 1000  # of 1820


def neighbours(mask: Tensor, grid: tuple[int, int]) -> float:
    """Share of horizontal and vertical neighbours that are alike."""
    m = mask.view(-1, *grid)
    alike = [m[:, 1:] == m[:, :-1], m[:, :, 1:] == m[:, :, :-1]]
    return float(torch.cat([a.flatten() for a in alike]).float().mean())


def test_blocks_are_blocks() -> None:
    seeds = torch.arange(400)
    scattered = neighbours(RandomMasking(0.4).sample(seeds[:64], (14, 14)), (14, 14))
    blocks = neighbours(BlockMasking(0.4).sample(seeds[:64], (14, 14)), (14, 14))
    assert scattered < 0.55
    assert blocks > 0.75
    masks = BlockMasking(0.4).sample(seeds, (14, 14)).float()
    assert masks.mean(0).view(14, 14)[1:-1, 1:-1].std() < 0.2
    assert masks.mean(0).min() > 0.02  # corners are hidden too
    assert len({tuple(row) for row in masks.int().tolist()}) == 400


def test_block_shapes_follow_the_arguments() -> None:
    def extents(min_aspect: float) -> set[tuple[int, int]]:
        # the least area is all there is to hide: one rectangle if it fits exactly
        masking = BlockMasking(ratio=0.25, min_patches=16, min_aspect=min_aspect)
        masks = masking.sample(torch.arange(64), (8, 8)).view(-1, 8, 8)
        return {(int(m.any(1).sum()), int(m.any(0).sum())) for m in masks}

    assert extents(1.0) == {(4, 4)}
    assert {(2, 8), (8, 2), (3, 5), (5, 3)} & extents(0.2)
    assert len(extents(0.2)) > 3


@pytest.mark.parametrize('kind', [RandomMasking, BlockMasking])
def test_a_mask_depends_on_its_seed_alone(kind: type[MaskingTransform]) -> None:
    state = torch.get_rng_state()
    seeds = torch.tensor([5, 2**62 - 1, 0, 5])
    masks = kind(0.5).sample(seeds, (6, 7))
    assert torch.equal(masks[0], masks[3])
    assert not torch.equal(masks[0], masks[2])
    assert torch.equal(masks[1:2], kind(0.5).sample(seeds[1:2], (6, 7)))
    assert torch.equal(state, torch.get_rng_state())  # the global one is left alone


def test_mixed_bits_are_splitmix64() -> None:
    """Against the reference in Python integers (state 0 + one golden step)."""

    def reference(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    values = [0, 1, 2**62 - 1, 0x9E3779B97F4A7C15]
    mixed = mixed_bits(torch.tensor([v - 2**64 if v >> 63 else v for v in values]))
    assert [m % 2**64 for m in mixed.tolist()] == [reference(v) for v in values]
    assert reference(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF  # splitmix64's first


@pytest.mark.parametrize('kind', [RandomMasking, BlockMasking])
def test_in_a_pipeline(kind: type[MaskingTransform]) -> None:
    def draw(index: int, seed: int | None = 0) -> Tensor:
        results = dict(img=np.zeros((32, 41, 3), np.uint8), sample_idx=index)
        return kind(0.5, stride=8, seed=seed)(results)['mask']

    assert draw(0).shape == (4 * 6,)  # as the encoder pads: 41 pixels are 6 patches
    assert draw(0).dtype == torch.bool
    assert int(draw(0).sum()) == 12
    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))
    assert not torch.equal(draw(3, seed=None), draw(3, seed=None))
    with pytest.raises(ValueError, match='stride=16'):
        kind(0.5)(dict(img=np.zeros((32, 32, 3), np.uint8), sample_idx=0))


@pytest.mark.parametrize('kind', [RandomMasking, BlockMasking])
@pytest.mark.parametrize('ratio', [0, 1, -0.5, 75])
def test_ratios_out_of_range(kind: type[MaskingTransform], ratio: float) -> None:
    with pytest.raises(ValueError, match='0 < ratio < 1'):
        kind(ratio)


def test_block_arguments_out_of_range() -> None:
    with pytest.raises(ValueError, match='min_patches=0'):
        BlockMasking(min_patches=0)
    with pytest.raises(ValueError, match='min_aspect=2'):
        BlockMasking(min_aspect=2)
