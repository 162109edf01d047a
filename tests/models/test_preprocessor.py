"""Raw pixels to normalised images and masks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mim_zoo.models import MIMDataPreprocessor
from mim_zoo.registry import MODELS

RANDOM = dict(type='RandomMasking', ratio=0.75)
BLOCK = dict(type='BlockMasking', ratio=0.5, min_patches=4)


def build(**changes: Any) -> MIMDataPreprocessor:
    return MODELS.build(dict(dict(type='MIMDataPreprocessor', stride=8), **changes))


def batch(indices: list[int], size: tuple[int, int] = (32, 48), **more: Any) -> dict:
    images = [
        torch.randint(
            0, 256, (3, *size), generator=torch.Generator().manual_seed(i)
        ).byte()
        for i in indices
    ]
    return dict(
        inputs=torch.stack(images),
        sample_idx=torch.tensor(indices),
        img_path=[f'{i}.png' for i in indices],
        **more,
    )


# --- pixels ----------------------------------------------------------------------


def test_imagenet_numbers() -> None:
    white = torch.full((1, 3, 8, 8), 255, dtype=torch.uint8)
    pixels = build()(dict(inputs=white))['inputs']
    assert pixels.dtype == torch.float32
    expected = [
        (1 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ]
    assert pixels[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32, torch.float64])
def test_any_number_type_in_file_units(dtype: torch.dtype) -> None:
    preprocessor = build(mean=[10, 20, 30], std=[1, 2, 4])
    images = torch.tensor([11, 24, 38]).view(1, 3, 1, 1).expand(2, 3, 8, 8).to(dtype)
    pixels = preprocessor(dict(inputs=images))['inputs']
    assert pixels.dtype == torch.float32
    assert pixels[1, :, 3, 4].tolist() == [1, 2, 2]
    torch.testing.assert_close(preprocessor.denormalize(pixels), images.float())


@pytest.mark.parametrize('channels', [1, 3, 13])
def test_one_number_for_all_channels(channels: int) -> None:
    preprocessor = build(mean=[100], std=[50], in_channels=channels)
    pixels = preprocessor(dict(inputs=torch.full((2, channels, 8, 8), 200.0)))['inputs']
    assert (pixels == 2).all()
    assert pixels.shape == (2, channels, 8, 8)


def test_nothing_is_saved() -> None:
    assert not build().state_dict()  # mean and std are the config's, not the file's


def test_the_rest_is_handed_on() -> None:
    out = build(batch_transforms=[RANDOM])(batch([3, 5], gt_label=torch.tensor([1, 0])))
    assert out.keys() == {'inputs', 'mask', 'num_hidden', 'data_samples'}
    samples = out['data_samples']
    assert samples.keys() == {'sample_idx', 'img_path', 'gt_label'}
    assert samples['img_path'] == ['3.png', '5.png']
    without = build()(batch([3, 5]))
    assert without.keys() == {'inputs', 'data_samples'}


def test_images_in_a_list() -> None:
    one = batch([1, 2])
    listed = dict(one, inputs=list(one['inputs']))
    assert torch.equal(build()(listed)['inputs'], build()(one)['inputs'])
    with pytest.raises(ValueError, match=r'\(3, 8, 8\), \(3, 8, 9\).*crop or resize'):
        build()(dict(inputs=[torch.zeros(3, 8, 8), torch.zeros(3, 8, 9)]))


# --- masks -----------------------------------------------------------------------


@pytest.mark.parametrize('transform', [RANDOM, BLOCK])
def test_masks_in_evaluation_depend_on_the_image_alone(transform: dict) -> None:
    preprocessor = build(batch_transforms=[transform])

    def masks(indices: list[int]) -> dict[int, Tensor]:
        return dict(zip(indices, preprocessor(batch(indices))['mask']))

    together, other = masks([0, 1, 2, 3]), masks([3, 7, 0])
    torch.manual_seed(1)
    alone = masks([3])
    for found in (other, alone):
        for i in found.keys() & together.keys():
            assert torch.equal(found[i], together[i])
    assert not torch.equal(together[0], together[1])
    another = build(batch_transforms=[transform], eval_seed=5)
    assert not torch.equal(another(batch([3]))['mask'][0], together[3])


def test_evaluation_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    build(batch_transforms=[RANDOM])(batch([0, 1]))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize('transform, hidden', [(RANDOM, 18), (BLOCK, 12)])
def test_masks_in_training_are_drawn_anew(transform: dict, hidden: int) -> None:
    preprocessor = build(batch_transforms=[transform])

    def draw() -> Tensor:
        out = preprocessor(batch([0, 1, 2]), training=True)
        assert out['num_hidden'] == hidden
        assert out['mask'].shape == (3, 24)
        assert (out['mask'].sum(1) == hidden).all()
        return out['mask']

    torch.manual_seed(0)
    first, second = draw(), draw()
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    torch.manual_seed(0)
    assert torch.equal(first, draw())


def test_masks_in_training_follow_the_seed_of_each_image() -> None:
    preprocessor = build(batch_transforms=[RANDOM])

    def draw(seeds: list[int]) -> Tensor:
        seed = torch.tensor(seeds)
        return preprocessor(batch([0, 1], seed=seed), training=True)['mask']

    first, second = draw([11, 22]), draw([22, 33])
    assert torch.equal(first[1], second[0])  # in whichever batch and place
    assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize('argument', [dict(stride=8), dict(seed=0)])
def test_what_belongs_into_a_pipeline_is_refused(argument: dict) -> None:
    with pytest.raises(ValueError, match='stride or a seed'):
        build(batch_transforms=[dict(RANDOM, **argument)])


def pixels(low: float, high: float, dtype: torch.dtype = torch.float) -> dict:
    inputs = torch.linspace(low, high, 192).reshape(1, 3, 8, 8).to(dtype)
    return dict(inputs=inputs, sample_idx=torch.arange(1))


OF_ONE = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ('statistics', 'given'),
    [
        ({}, pixels(0, 65_535)),
        ({}, pixels(0, 4_095)),
        ({}, pixels(0, 1)),
        (OF_ONE, pixels(0, 255)),
        (OF_ONE, pixels(0, 255, torch.uint8)),
    ],
)
def test_units_are_checked(statistics: dict, given: dict) -> None:
    with pytest.raises(ValueError, match='units of your files'):
        build(**statistics)(given)


@pytest.mark.parametrize(
    ('statistics', 'given'),
    [
        (dict(mean=30_000, std=9_000), pixels(20_000, 39_000)),
        (OF_ONE, pixels(0, 1)),
        ({}, pixels(0, 255, torch.uint8)),
        ({}, pixels(3, 4, torch.uint8)),  # dark, but 8 bits leave no doubt
        ({}, pixels(0, 0)),  # blank: tells nothing
    ],
)
def test_right_units_pass(statistics: dict, given: dict) -> None:
    built = build(**statistics)
    normalized = built(given)['inputs']
    torch.testing.assert_close(built.denormalize(normalized), given['inputs'].float())


def test_a_bright_pixel_is_no_mistake_of_units() -> None:
    given = pixels(200, 400)
    given['inputs'][0, 0, 0, 0] = 65_535
    build(mean=300, std=60)(given)


def test_a_blank_batch_leaves_the_units_to_the_next_one() -> None:
    preprocessor = build()
    preprocessor(pixels(0, 0))
    with pytest.raises(ValueError, match='between 0 and 1'):
        preprocessor(pixels(0, 1))


@pytest.mark.parametrize('training', [True, False])
def test_given_masks_are_used(training: bool) -> None:
    mask = torch.rand(2, 24).argsort(1) < 7
    out = build()(batch([0, 1], mask=mask), training=training)
    assert torch.equal(out['mask'], mask)
    assert out['num_hidden'] == 7
    assert 'mask' not in out['data_samples']


def test_given_masks_win_in_evaluation() -> None:
    mask = torch.rand(2, 24).argsort(1) < 7
    out = build(batch_transforms=[RANDOM])(batch([0, 1], mask=mask))
    assert torch.equal(out['mask'], mask)


def test_given_masks_may_be_unequal() -> None:
    mask = torch.arange(24) < torch.tensor([[7], [9]])
    out = build()(batch([0, 1], mask=mask), training=True)
    assert out['num_hidden'] is None
    assert torch.equal(out['mask'], mask)


def test_masks_from_both_sides() -> None:
    mask = torch.rand(2, 24).argsort(1) < 7
    with pytest.raises(ValueError, match=r'the pipeline and batch_transforms=\[Ran'):
        build(batch_transforms=[RANDOM])(batch([0, 1], mask=mask), training=True)


@pytest.mark.parametrize(
    'mask', [torch.zeros(2, 24).bool(), torch.arange(24) < torch.tensor([[0], [5]])]
)
def test_masks_that_hide_nothing(mask: Tensor) -> None:
    with pytest.raises(ValueError, match='hides no patch'):
        build()(batch([0, 1], mask=mask))


def test_masks_of_odd_sizes_fit_the_encoder(build_mim: Callable[..., Any]) -> None:
    model = build_mim(
        data_preprocessor=dict(type='MIMDataPreprocessor', batch_transforms=[RANDOM])
    )
    for size in ((32, 32), (16, 56)):
        out = model.data_preprocessor(batch([0, 1], size), training=True)
        assert model(**out, mode='loss')['loss_0'].isfinite()
    # a size that is no multiple of the patch still gets a mask of the encoder's grid
    out = model.data_preprocessor(batch([0, 1], (30, 33)), training=True)
    assert out['mask'].shape == (2, 4 * 5)


# --- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(mean=[1, 2], std=[1, 2, 3]), 'got 2 and 3 numbers'),
        (dict(in_channels=13), 'got 3 and 3 numbers, expected 13 each'),
        (dict(std=[1, 0, 1]), 'positive'),
        (dict(batch_transforms=[RANDOM, BLOCK]), 'at most one'),
        (dict(batch_transforms=[dict(type='PackInputs')]), r'PackInputs.*at most one'),
    ],
)
def test_impossible_builds(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_wrong_channels() -> None:
    with pytest.raises(ValueError, match='got 4 channels, expected 3'):
        build()(dict(inputs=torch.zeros(2, 4, 8, 8)))


def test_masks_need_to_know_the_stride() -> None:
    with pytest.raises(ValueError, match='stride'):
        build(stride=None, batch_transforms=[RANDOM])(batch([0]))
