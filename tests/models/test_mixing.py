"""Mixing two images: the plan, its masks, and what can see what."""

import pytest
import torch
from mixing import (
    ENCODERS,
    GRID,
    HIERARCHY,
    SIZE,
    Build,
    L,
    Masks,
    build_mixing,
)
from torch import Tensor

from mim_zoo.datasets.masking import MixedMasking
from mim_zoo.models import MaskedMSE, MixImages
from mim_zoo.models.corruption import Mix
from mim_zoo.models.targets import patchify, unpatchify


def pixels(mask: Tensor) -> Tensor:
    """A mask (B, L) on GRID as one of pixels, (B, 1, *SIZE)."""
    mask = mask.view(-1, 1, *GRID)
    return mask.repeat_interleave(8, 2).repeat_interleave(8, 3)


# --- the plan --------------------------------------------------------------------


@pytest.mark.parametrize('rows', [1, 4])
def test_hide_reveal_and_align(random_mask: Masks, rows: int) -> None:
    mask = random_mask(rows, L, 7)
    plan = MixImages(channels=8).plan(mask, 4, GRID)
    second = mask.expand(4, -1)
    assert torch.equal(plan.mask, torch.cat([second, ~second]))
    tokens, pos = torch.randn(4, L, 8), torch.randn(1, L, 8)
    seen, groups = plan.hide(tokens, pos)
    assert torch.equal(groups, mask)  # one for the batch stays one
    for i in range(4):
        m = second[i]
        assert torch.equal(seen[i][~m], (tokens[i] + pos[0])[~m])
        assert torch.equal(seen[i][m], (tokens[3 - i] + pos[0])[m])
    views = plan.reveal(seen, torch.full((1, 1, 8), 9.0))
    aligned = plan.align(tokens + pos)
    assert views.shape == aligned.shape == (8, L, 8)
    # a view holds its image where it is not scored, mask tokens where it is
    assert torch.equal(views[~plan.mask], aligned[~plan.mask])
    assert (views[plan.mask] == 9).all()


def test_a_finer_stem(random_mask: Masks) -> None:
    mask = random_mask(1, L, 7)
    plan = MixImages(channels=1).plan(mask, 2, GRID)
    tokens = torch.stack([torch.zeros(4 * L, 1), torch.ones(4 * L, 1)])
    seen, groups = plan.hide(tokens, torch.zeros(1, 4 * L, 1))
    expected = mask.view(*GRID).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert torch.equal(seen[0, :, 0].view(6, 10) == 1, expected)
    assert torch.equal(groups.view(6, 10), expected)


@pytest.mark.parametrize('batch', [4, 5])
def test_every_patch_is_scored_once(random_mask: Masks, batch: int) -> None:
    plan = MixImages(channels=8).plan(random_mask(1, L, 7), batch, GRID)
    owner = plan.align(torch.arange(batch)[:, None].expand(-1, L)[..., None])[..., 0]
    scored = torch.zeros(batch, L)
    for view in range(2 * batch):
        scored[owner[view, 0]] += plan.mask[view].float()
    assert (scored == 1).all()


def test_a_perfect_decoder_un_mixes_constant_images(random_mask: Masks) -> None:
    images = torch.arange(1.0, 5.0).view(4, 1, 1, 1).expand(-1, 3, *SIZE)
    patches = patchify(images, 8)
    plan = MixImages(channels=192).plan(random_mask(1, L, 7), 4, GRID)
    seen, _ = plan.hide(patches, torch.zeros(1, L, 192))
    views = plan.reveal(seen, torch.full((1, 1, 192), torch.nan))
    # knows but what is there: an image's one colour
    pred = views.nanmean(dim=(1, 2), keepdim=True).expand(-1, L, 192)
    assert MaskedMSE()(pred, plan.align(patches), plan.mask) == 0
    first, second = pred.chunk(2)
    m = plan.mask[:4, :, None]
    assert torch.equal(
        unpatchify(torch.where(m, first, second.flip(0)), 8, SIZE), images
    )


def test_the_loss_is_the_mean_over_all_patches_once(
    build_mim: Build, random_mask: Masks
) -> None:
    model = build_mixing(build_mim, HIERARCHY)
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    (pred,), _, target = model.reconstruct(images, mask)
    first, second = pred.chunk(2)
    m = mask[..., None]
    unmixed = torch.where(m, first, second.flip(0))  # as the official code does
    expected = (unmixed - target(images)).square().mean()
    torch.testing.assert_close(model.loss(images, mask)['loss_0'], expected)


# --- leaks -----------------------------------------------------------------------


@ENCODERS
@pytest.mark.parametrize('rows', [1, 4])
def test_hidden_pixels_reach_no_view_that_is_scored_there(
    build_mim: Build, random_mask: Masks, backbone: dict, rows: int
) -> None:
    model = build_mixing(build_mim, backbone)
    images, mask = torch.randn(4, 3, *SIZE), random_mask(rows, L, 7)
    if rows > 1:
        mask[2:] = mask[:2].flip(0)  # equal in each pair
    (before,), _, _ = model.reconstruct(images, mask)
    hidden = pixels(mask.expand(4, -1))
    for i in range(4):
        partner = 3 - i
        changed = images.clone()
        changed[i] = torch.where(hidden[i], torch.randn_like(images[i]), images[i])
        (after,), _, _ = model.reconstruct(changed, mask)
        moved = (before != after).flatten(1).any(1)
        # hidden in mixture i, where view i is scored; shown in that of the partner
        assert moved.nonzero().flatten().tolist() == [4 + partner]


@ENCODERS
def test_a_view_knows_one_image(
    build_mim: Build, random_mask: Masks, backbone: dict
) -> None:
    model = build_mixing(build_mim, backbone)
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    features, _ = model.complete(images, mask)
    (before,), _, _ = model.reconstruct(images, mask)
    for i in range(4):
        changed = images.clone()
        changed[i] = torch.randn(3, *SIZE)
        (after,), _, _ = model.reconstruct(changed, mask)
        moved = (before != after).flatten(1).any(1)
        assert moved.nonzero().flatten().tolist() == [i, 4 + (3 - i)]
        other, _ = model.complete(changed, mask)
        places = (other[0] != features[0]).any(-1)
        assert torch.equal(places[i], ~mask[0])
        assert torch.equal(places[3 - i], mask[0])


def test_attention_is_what_keeps_them_apart(
    build_mim: Build, random_mask: Masks
) -> None:
    backbone = dict(HIERARCHY, group_mode='embedding')
    model = build_mixing(build_mim, backbone)
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    (before,), _, _ = model.reconstruct(images, mask)
    images[0] = torch.randn(3, *SIZE)
    (after,), _, _ = model.reconstruct(images, mask)
    moved = (before != after).flatten(1).any(1)
    assert moved.nonzero().flatten().tolist() == [0, 3, 4, 7]  # both of the mixtures


# --- masks -----------------------------------------------------------------------


@pytest.mark.parametrize('pattern', ['RandomMasking', 'BlockMasking'])
@pytest.mark.parametrize(
    'grid, ratio, hidden', [((7, 7), 0.5, 24), ((4, 4), 0.5, 8), ((2, 5), 0.3, 3)]
)
def test_mixed_masks(
    pattern: str, grid: tuple[int, int], ratio: float, hidden: int
) -> None:
    seeds = torch.arange(6) * 1000
    options = dict(min_patches=2) if pattern == 'BlockMasking' else {}
    shared = MixedMasking(ratio, pattern=pattern, **options)
    assert shared.num_hidden(grid) == hidden
    mask = shared.sample(seeds, grid)
    assert mask.shape == (1, grid[0] * grid[1])
    assert mask.sum() == hidden
    assert torch.equal(mask, shared.sample(seeds, grid))
    masks = {tuple(shared.sample(s[None], grid)[0].tolist()) for s in seeds}
    assert len(masks) > 1
    pairs = MixedMasking(ratio, per_pair=True, pattern=pattern, **options)
    mask = pairs.sample(torch.arange(6), grid)  # neighbours, as in evaluation
    assert mask.shape == (6, grid[0] * grid[1])
    assert (mask.sum(1) == hidden).all()
    assert torch.equal(mask, mask.flip(0))
    assert len({tuple(m.tolist()) for m in mask}) > 1


def test_patches_in_squares() -> None:
    mask = MixedMasking(0.5, cell=2).sample(torch.arange(2), (8, 6))
    cells = mask.view(4, 2, 3, 2).float().mean((1, 3))
    assert set(cells.flatten().tolist()) == {0.0, 1.0}
    assert cells.sum() == 6
    assert MixedMasking(0.5, cell=2).num_hidden((8, 6)) == 24
    with pytest.raises(ValueError, match='multiples of cell=2'):
        MixedMasking(0.5, cell=2).sample(torch.arange(2), (7, 6))


def test_impossible_masks() -> None:
    with pytest.raises(ValueError, match="pattern='Stripes'"):
        MixedMasking(pattern='Stripes')
    with pytest.raises(ValueError, match='batch_transforms'):
        MixedMasking()(dict(img=torch.zeros(32, 32, 3), sample_idx=0))
    for cell in (0, 1.5):
        with pytest.raises(ValueError, match=f'got cell={cell}'):
            MixedMasking(cell=cell)
    for option in ('stride', 'seed', 'min_patches'):
        with pytest.raises(
            ValueError, match=rf"got \['{option}'\], expected only cell"
        ):
            MixedMasking(**{option: 3})


def test_the_plan_is_a_mix(random_mask: Masks) -> None:
    plan = MixImages(channels=8).plan(random_mask(1, L, 7), 4, GRID)
    assert isinstance(plan, Mix)
    assert plan.second.shape == (1, L)
