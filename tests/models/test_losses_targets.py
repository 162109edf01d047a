"""Losses and targets."""

import pytest
import torch
from torch import Tensor, nn

from mim_zoo.models import (
    MaskedCosine,
    MaskedL1,
    MaskedMSE,
    MaskedSmoothL1,
    PixelTarget,
)
from mim_zoo.models.losses import MaskedLoss
from mim_zoo.models.targets import Target, patchify, unpatchify

LOSSES = [
    MaskedMSE(),
    MaskedL1(),
    MaskedSmoothL1(beta=2),
    MaskedSmoothL1(beta=0.1),
    MaskedCosine(),
]


def name_of(part: nn.Module) -> str:
    return type(part).__name__


# --- losses ----------------------------------------------------------------------


def plain_error(loss: MaskedLoss, pred: Tensor, target: Tensor) -> float:
    """The error of one patch, from the formula."""
    d = (pred - target).double()
    if isinstance(loss, MaskedMSE):
        return float((d**2).sum() / len(d))
    if isinstance(loss, MaskedL1):
        return float(d.abs().sum() / len(d))
    if isinstance(loss, MaskedSmoothL1):
        terms = [
            0.5 * x * x / loss.beta if abs(x) < loss.beta else abs(x) - loss.beta / 2
            for x in d.tolist()
        ]
        return sum(terms) / len(terms)
    cos = pred @ target / pred.norm() / target.norm()
    return float(2 - 2 * cos)


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
def test_losses_are_their_formulas(loss: MaskedLoss) -> None:
    torch.manual_seed(0)
    pred, target = torch.randn(3, 6, 5), 2 * torch.randn(3, 6, 5)
    mask = torch.rand(3, 6) < 0.5  # unequal counts: one mean over all hidden patches
    assert len(set(mask.sum(1).tolist())) > 1
    errors = [
        plain_error(loss, pred[i, j], target[i, j]) for i, j in mask.nonzero().tolist()
    ]
    value = loss(pred, target, mask)
    assert value.shape == ()
    assert float(value) == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert loss.error(pred, target).shape == (3, 6)
    assert float(loss(target, target, mask)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
def test_visible_patches_do_not_count(loss: MaskedLoss) -> None:
    pred = torch.randn(2, 6, 5, requires_grad=True)
    target, mask = torch.randn(2, 6, 5), torch.arange(6).expand(2, -1) < 4
    before = loss(pred, target, mask)
    before.backward()
    assert (pred.grad[~mask] == 0).all()
    assert (pred.grad[mask] != 0).any(-1).all()
    changed = torch.where(mask[..., None], pred, 100.0)
    assert torch.equal(before, loss(changed, target, mask))


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
def test_losses_are_taken_in_fp32(loss: MaskedLoss) -> None:
    pred, target = torch.randn(2, 64, 5).bfloat16(), torch.randn(2, 64, 5).bfloat16()
    mask = torch.ones(2, 64, dtype=torch.bool)
    value = loss(pred, target, mask)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(pred.float(), target.float(), mask))


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
@pytest.mark.parametrize('count', [1, 40, 41])
def test_no_constant_is_better(loss: MaskedLoss, count: int) -> None:
    torch.manual_seed(0)
    target = torch.randn(count, 4) ** 3 + torch.tensor([0.0, 1.0, -2.0, 5.0])
    best = loss.best_constant(target)
    assert best.shape == (4,)
    least = loss.error(best.expand_as(target), target).mean()
    directions = torch.cat([torch.eye(4), -torch.eye(4), torch.randn(50, 4)])
    for size in (1e-2, 0.1, 1.0, 10.0):
        for direction in directions:
            other = best + size * direction
            error = loss.error(other.expand_as(target), target).mean()
            assert error >= least - 1e-6


def test_beta_must_be_positive() -> None:
    with pytest.raises(ValueError, match='beta=0'):
        MaskedSmoothL1(beta=0)


# --- targets ---------------------------------------------------------------------


@pytest.mark.parametrize('channels', [1, 3, 13])
@pytest.mark.parametrize('size', [(16, 16), (8, 24), (32, 16)])
def test_patches_and_back(size: tuple[int, int], channels: int) -> None:
    images = torch.randn(2, channels, *size)
    patches = patchify(images, 8)
    assert patches.shape == (2, size[0] * size[1] // 64, 64 * channels)
    assert torch.equal(unpatchify(patches, 8, size), images)


def test_patch_order_is_row_column_channel() -> None:
    images = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)  # channel, row, column
    second = images[0, :, 0:2, 2:4]
    assert torch.equal(patchify(images, 2)[0, 1], second.permute(1, 2, 0).flatten())


@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('size', [(16, 16), (8, 24)])
def test_the_target_can_be_drawn(size: tuple[int, int], normalize: bool) -> None:
    images = torch.randn(2, 3, *size)
    target = PixelTarget(normalize, stride=8, in_channels=3)
    values = target(images)
    assert values.shape[-1] == target.dim == 192
    torch.testing.assert_close(target.invert(values, images), images)
    assert ('ground-truth' in target.caption) == normalize


def test_normalised_pixels() -> None:
    target = PixelTarget(stride=16, in_channels=3)
    images = torch.randn(4, 3, 64, 64) * 2 + 1
    values = target(images)
    patch = images[1, :, :16, 16:32].permute(1, 2, 0).flatten()
    expected = (patch - patch.mean()) / (patch.var(unbiased=True) + 1e-6).sqrt()
    torch.testing.assert_close(values[1, 1], expected)
    zero = MaskedMSE()(torch.zeros_like(values), values, torch.ones(4, 16).bool())
    assert float(zero) == pytest.approx(767 / 768, abs=1e-5)  # 0.9987
    flat = target(torch.full((1, 3, 64, 64), 7.0))
    assert (flat == 0).all()


def test_targets_take_no_gradient_and_are_fp32() -> None:
    images = torch.randn(1, 3, 16, 16, requires_grad=True)
    target = PixelTarget(stride=8, in_channels=3)
    assert not target(images).requires_grad
    assert target(images.bfloat16()).dtype == torch.float32


def test_images_must_be_whole_patches() -> None:
    with pytest.raises(ValueError, match=r'16 x 20 pixels.*multiples of the patch \(8'):
        PixelTarget(stride=8, in_channels=3)(torch.randn(1, 3, 16, 20))


def test_targets_without_inverse_say_so() -> None:
    with pytest.raises(ValueError, match='no inverse'):
        Target(stride=8).invert(torch.randn(1, 4, 5), torch.randn(1, 3, 16, 16))
