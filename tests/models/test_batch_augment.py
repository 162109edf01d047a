"""Random erasing, Mixup and CutMix on a batch."""

import random

import numpy as np
import pytest
import torch

from mim_zoo.models import BatchAugment


@pytest.mark.parametrize('mixup, cutmix', [(0.8, 1.0), (0.8, 0), (0, 1.0), (0, 0)])
@pytest.mark.parametrize('erase', [0.0, 0.5])
def test_soft_labels_are_distributions(
    mixup: float, cutmix: float, erase: float
) -> None:
    random.seed(0)  # what timm draws from
    np.random.seed(0)
    augment = BatchAugment(10, mixup=mixup, cutmix=cutmix, erase=erase)
    x, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    given = x.clone()
    y, soft = augment(x, labels)
    assert torch.equal(x, given)  # the caller's batch is left alone
    assert y.shape == x.shape
    assert soft.shape == (8, 10)
    torch.testing.assert_close(soft.sum(1), torch.ones(8))
    assert soft.min() == pytest.approx(0.1 / 10)
    assert (y != x).any() == bool(mixup or cutmix or erase)
    if not (mixup or cutmix):
        assert torch.equal(soft.argmax(1), labels)
        assert soft.max() == pytest.approx(0.9 + 0.1 / 10)


def test_mixed_labels_match_the_pixels() -> None:
    augment = BatchAugment(4, mixup=1.0, cutmix=0, erase=0, label_smoothing=0)
    x = torch.eye(4)[:, :, None, None].expand(4, 4, 8, 8).clone()  # channel = class
    y, soft = augment(x, torch.arange(4))
    torch.testing.assert_close(y.mean((2, 3)), soft)
    augment = BatchAugment(4, mixup=0, cutmix=1.0, erase=0, label_smoothing=0)
    y, soft = augment(x.contiguous(), torch.arange(4))
    torch.testing.assert_close(y.mean((2, 3)), soft)
