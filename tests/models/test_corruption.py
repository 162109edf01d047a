"""Plan laws and leaks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

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
    first = model.head.predict(before, images, plan)['loss_1']
    second = model.head.predict(after, changed, plan)['loss_1']
    assert torch.equal(first.pred, second.pred)
    moved = (first.target != second.target).any(-1)
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
