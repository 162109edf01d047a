"""Mixing two images: the plan, its masks, what can see what, and the losses."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mim_zoo.datasets.masking import MixedMasking
from mim_zoo.models import MIM, MaskedMSE, MixImages
from mim_zoo.models.corruption import Mix
from mim_zoo.models.targets import patchify, unpatchify
from mim_zoo.registry import MODELS

Build = Callable[..., MIM]
Masks = Callable[..., Tensor]

HIERARCHY = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=16, depths=(1, 2), num_heads=(1, 2), windows=(4, 4), patch_size=4
    ),
    img_size=32,
)
PLAIN = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=3, num_heads=2),
    img_size=32,
    patch_size=8,
    class_token=False,
)
ENCODERS = pytest.mark.parametrize(
    'backbone', [HIERARCHY, PLAIN], ids=lambda cfg: cfg['type']
)
GRID, L = (3, 5), 15
SIZE = (24, 40)


def build_mixing(build_mim: Build, backbone: dict, **changes: Any) -> MIM:
    cfg: dict = dict(
        backbone=backbone,
        corruption=dict(type='MixImages'),
        data_preprocessor=dict(
            type='MIMDataPreprocessor',
            batch_transforms=[dict(type='MixedMasking', ratio=0.5)],
        ),
    )
    return build_mim(**{**cfg, **changes})


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


# --- whole models ----------------------------------------------------------------

LINEAR = dict(type='LinearDecoder')
DECODER = dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2)


@pytest.mark.parametrize('outputs', [[[-1]], [[0, 1, -1]], [[0], [-1]]], ids=str)
@pytest.mark.parametrize(
    'backbone, corruption, decoder',
    [
        (HIERARCHY, 'MixImages', DECODER),
        (HIERARCHY, 'MaskPatches', DECODER),
        (HIERARCHY, 'MaskPatches', LINEAR),
        (dict(HIERARCHY, group_mode='embedding'), 'MixImages', DECODER),
        (dict(HIERARCHY, with_cp=True), 'MixImages', DECODER),
        (PLAIN, 'MixImages', DECODER),
    ],
)
def test_compositions_train(
    build_mim: Build,
    random_mask: Masks,
    head_cfg: dict,
    backbone: dict,
    corruption: str,
    decoder: dict,
    outputs: list,
) -> None:
    model = build_mixing(
        build_mim,
        dict(backbone, in_channels=4),
        corruption=dict(type=corruption),
        neck=dict(type='LevelFusion', outputs=outputs),
        head=dict(head_cfg, decoder=decoder),
        data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0] * 4, std=[1] * 4),
    ).train()
    images, mask = torch.randn(4, 4, *SIZE), random_mask(1, L, 7)
    losses = model.loss(images, mask)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    assert total.isfinite()
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f'{name} is not used'
            assert parameter.grad.isfinite().all(), name


@ENCODERS
def test_the_step_is_one_graph(
    build_mim: Build, random_mask: Masks, backbone: dict
) -> None:
    torch.compiler.reset()
    model = build_mixing(build_mim, backbone).train()
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    traced = torch.compile(model.loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(images, mask), model.loss(images, mask))


@ENCODERS
def test_the_step_under_bf16(
    build_mim: Build, random_mask: Masks, backbone: dict
) -> None:
    model = build_mixing(build_mim, backbone)
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = model.loss(images, mask)['loss_0']
    assert loss.dtype == torch.float32
    loss.backward()
    expected = model.loss(images, mask)['loss_0']
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)


@ENCODERS
def test_the_runner_s_calls(build_mim: Build, backbone: dict) -> None:
    model = build_mixing(build_mim, backbone)
    batch = dict(
        inputs=torch.randint(0, 256, (4, 3, *SIZE), dtype=torch.uint8),
        sample_idx=torch.arange(4),
        img_path=list('abcd'),
    )
    records = model.val_step(dict(batch))
    assert [r['img_path'] for r in records] == list('abcd')
    data = model.data_preprocessor(dict(batch))
    assert data['mask'].shape == (1, L)
    mean = torch.stack([r['losses']['loss_0'] for r in records]).mean()
    torch.testing.assert_close(mean, model(**data, mode='loss')['loss_0'])
    assert records[0]['targets']['loss_0'].shape == (L, 192)


@pytest.mark.parametrize('batch', [4, 5])
def test_records_are_of_their_own_image(
    build_mim: Build, head_cfg: dict, random_mask: Masks, batch: int
) -> None:
    raw = dict(head_cfg, target=dict(type='PixelTarget', normalize=False))
    model = build_mixing(build_mim, HIERARCHY, head=raw)
    images = torch.arange(1.0, batch + 1).view(-1, 1, 1, 1).expand(-1, 3, *SIZE)
    for i, record in enumerate(model.predict(images, random_mask(1, L, 7))):
        assert (record['targets']['loss_0'] == i + 1).all()
        assert record['targets']['loss_0'].shape == (L, 192)  # each patch once


def test_impossible_pairs(build_mim: Build) -> None:
    with pytest.raises(ValueError, match=r'MixImages.*class_token=False'):
        build_mixing(build_mim, dict(PLAIN, class_token=True))
    with pytest.raises(ValueError, match=r'DropPatches.*windows.*MixImages'):
        build_mim(backbone=HIERARCHY)
    embedding = dict(HIERARCHY, group_mode='embedding')
    with pytest.raises(ValueError, match='MaskPatches.*leave out group_mode'):
        build_mixing(build_mim, embedding, corruption=dict(type='MaskPatches'))
    with pytest.raises(ValueError, match='Classifier.*leave out group_mode'):
        MODELS.build(dict(type='Classifier', backbone=embedding, num_classes=2))
    model = build_mixing(build_mim, HIERARCHY)
    images = torch.randn(2, 3, *SIZE)
    with pytest.raises(ValueError, match='got 0 of 15 patches hidden'):
        model.loss(images, torch.zeros(1, L, dtype=torch.bool), num_hidden=0)
    with pytest.raises(ValueError, match="no mask; add .*'MixedMasking'"):
        model(images, mode='loss')
    with pytest.raises(ValueError, match=r'LinearDecoder.*MaskPatches'):
        MODELS.build(
            dict(
                type='MixMIM',
                backbone=HIERARCHY,
                corruption=dict(type='MixImages'),
                head=dict(
                    type='MIMHead',
                    target=dict(type='PixelTarget'),
                    loss=dict(type='MaskedMSE'),
                    decoder=LINEAR,
                ),
            )
        )


@pytest.mark.parametrize('size', [(28, 40), (36, 64)])
def test_sizes_that_are_no_multiples(
    build_mim: Build, random_mask: Masks, size: tuple[int, int]
) -> None:
    deep = dict(
        embed_dim=4, depths=(1,) * 4, num_heads=(1,) * 4, windows=(4,) * 4
    )  # 36 x 64 px has as many tokens as 2 x 2 cells of 6 x 6
    model = build_mixing(build_mim, dict(type='MixMIMViT', arch=deep, img_size=64))
    h, w = model.backbone.grid(size)
    with pytest.raises(ValueError, match=rf'{size[0]} x {size[1]} pixels.*of 32'):
        model.complete(torch.randn(2, 3, *size), random_mask(1, h * w, 2))


def test_the_plan_is_a_mix(random_mask: Masks) -> None:
    plan = MixImages(channels=8).plan(random_mask(1, L, 7), 4, GRID)
    assert isinstance(plan, Mix)
    assert plan.second.shape == (1, L)
