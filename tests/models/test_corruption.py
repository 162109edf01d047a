"""Plan laws, leaks, and the masks themselves."""

from collections.abc import Callable

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
from mim_zoo.models import MIM, DropPatches, MaskPatches

GRID = (3, 5)
L = 15


# --- plans -----------------------------------------------------------------------


@pytest.mark.parametrize('hidden', [1, 7, 14])
def test_drop_keeps_visible_tokens_and_puts_them_back(
    random_mask: Callable[..., Tensor], hidden: int
) -> None:
    mask = random_mask(4, L, hidden)
    tokens, pos = torch.randn(4, L, 8), torch.randn(1, L, 8)
    plan = DropPatches(channels=8).plan(mask, 4, GRID)
    seen, groups = plan.hide(tokens, pos)
    assert groups is None
    assert seen.shape == (4, L - hidden, 8)
    for i in range(4):  # in image order
        assert torch.equal(seen[i], (tokens + pos)[i][~mask[i]])
    token = torch.full((1, 1, 8), 9.0)
    complete = plan.reveal(seen, token)
    assert torch.equal(complete[~mask], (tokens + pos)[~mask])
    assert (complete[mask] == 9).all()
    assert torch.equal(plan.mask, mask)


def test_count_may_be_told(random_mask: Callable[..., Tensor]) -> None:
    mask = random_mask(4, L, 6)
    told = DropPatches(channels=8).plan(mask, 4, GRID, num_hidden=6)
    found = DropPatches(channels=8).plan(mask, 4, GRID)
    assert torch.equal(told.keep, found.keep)
    assert torch.equal(told.restore, found.restore)


def test_replace_keeps_every_place(random_mask: Callable[..., Tensor]) -> None:
    mask = random_mask(4, L, 6)
    mask[0] = False  # any number of patches, image by image
    tokens, pos = torch.randn(4, L, 8), torch.randn(1, L, 8)
    corruption = MaskPatches(channels=8)
    plan = corruption.plan(mask, 4, GRID)
    seen, groups = plan.hide(tokens, pos)
    assert groups is None
    assert torch.equal(seen[~mask], (tokens + pos)[~mask])
    expected = (corruption.token + pos).expand(4, -1, -1)
    assert torch.equal(seen[mask], expected[mask])
    assert plan.reveal(seen, None) is seen


def test_targets_stay_with_their_images(random_mask: Callable[..., Tensor]) -> None:
    target = torch.randn(4, L, 3)
    for corruption in (DropPatches(channels=8), MaskPatches(channels=8)):
        plan = corruption.plan(random_mask(4, L, 6), 4, GRID)
        assert plan.align(target) is target


def test_one_mask_for_the_batch(random_mask: Callable[..., Tensor]) -> None:
    one = random_mask(1, L, 6)
    tokens, pos = torch.randn(4, L, 8), torch.zeros(1, L, 8)
    for corruption in (DropPatches(channels=8), MaskPatches(channels=8)):
        shared = corruption.plan(one, 4, GRID)
        each = corruption.plan(one.repeat(4, 1), 4, GRID)
        assert shared.mask.shape == (4, L)
        assert torch.equal(shared.hide(tokens, pos)[0], each.hide(tokens, pos)[0])


@pytest.mark.parametrize(
    'corruption', [DropPatches(channels=8), MaskPatches(channels=8)]
)
@pytest.mark.parametrize(
    'mask, message',
    [
        (torch.zeros(4, L, dtype=torch.uint8), 'torch.uint8'),
        (torch.zeros(4, L), 'torch.float32'),
        (torch.zeros(4, 16, dtype=torch.bool), r'16 places.*expected 15.*grid 3 x 5'),
        (torch.zeros(3, L, dtype=torch.bool), r'\(3, 15\).*expected.*\(4, 15\)'),
        (torch.zeros(4, *GRID, dtype=torch.bool), r'\(4, 3, 5\)'),
        (torch.zeros(L, dtype=torch.bool), r'\(15,\)'),
    ],
)
def test_wrong_masks_are_refused(
    corruption: MaskPatches | DropPatches, mask: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        corruption.plan(mask, 4, GRID)


def test_dropping_needs_equal_counts(random_mask: Callable[..., Tensor]) -> None:
    mask = torch.cat([random_mask(2, L, 6), random_mask(2, L, 7)])
    with pytest.raises(ValueError, match='from 6 to 7 patches'):
        DropPatches(channels=8).plan(mask, 4, GRID)
    MaskPatches(channels=8).plan(mask, 4, GRID)


@pytest.mark.parametrize('hidden', [0, L])
def test_dropping_needs_both_kinds(hidden: int) -> None:
    mask = torch.arange(L).expand(4, -1) < hidden
    with pytest.raises(ValueError, match=f'{hidden} of 15 patches hidden'):
        DropPatches(channels=8).plan(mask, 4, GRID)


# --- leaks -----------------------------------------------------------------------


def scramble(images: Tensor, mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Other pixels wherever the mask (B, L) hides a patch."""
    h, w = images.shape[-2] // grid[0], images.shape[-1] // grid[1]
    pixels = mask.view(-1, 1, *grid).repeat_interleave(h, 2).repeat_interleave(w, 3)
    return torch.where(pixels, torch.randn_like(images) * 5, images)


@pytest.mark.parametrize('corruption', ['DropPatches', 'MaskPatches'])
@pytest.mark.parametrize('class_token', [True, False])
def test_hidden_pixels_do_not_reach_the_encoder(
    build_mim: Callable[..., MIM],
    random_mask: Callable[..., Tensor],
    corruption: str,
    class_token: bool,
) -> None:
    model = build_mim(
        dict(class_token=class_token),
        corruption=dict(type=corruption),
        neck=dict(type='LevelFusion', outputs=[[0], [0, 1, 2]]),
    )
    images, mask = torch.randn(3, 3, 24, 40), random_mask(3, L, 9)
    before, plan = model.complete(images, mask)
    after, _ = model.complete(scramble(images, mask, GRID), mask)
    for x, y in zip(before, after):
        assert torch.equal(x, y)
    # nor do they reach the predictions, only the targets
    changed = scramble(images, mask, GRID)
    first, target = model.head.predict(before, images, plan)
    second, other = model.head.predict(after, changed, plan)
    assert torch.equal(first['loss_1'], second['loss_1'])
    moved = (target != other).any(-1)
    assert torch.equal(moved, mask)


@pytest.mark.parametrize('corruption', ['DropPatches', 'MaskPatches'])
def test_every_visible_patch_reaches_the_encoder(
    build_mim: Callable[..., MIM],
    random_mask: Callable[..., Tensor],
    corruption: str,
) -> None:
    model = build_mim(corruption=dict(type=corruption))
    mask = random_mask(1, L, 9)
    images = torch.randn(1, 3, 24, 40)
    before, _ = model.complete(images, mask)
    for place in (~mask[0]).nonzero().flatten():
        only = torch.zeros_like(mask)
        only[0, place] = True
        after, _ = model.complete(scramble(images, only, GRID), mask)
        assert (before[0] != after[0]).any(-1).all()


def test_images_do_not_see_each_other(
    build_mim: Callable[..., MIM], random_mask: Callable[..., Tensor]
) -> None:
    model = build_mim()
    images, mask = torch.randn(3, 3, 32, 32), random_mask(3, 16, 12)
    before, _ = model.complete(images, mask)
    images[1] = torch.randn(3, 32, 32)
    after, _ = model.complete(images, mask)
    moved = (before[0] != after[0]).flatten(1).any(1)
    assert moved.tolist() == [False, True, False]


# --- masks -----------------------------------------------------------------------


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
