"""Targets between what a frozen generator says and the truth."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_teacher_target import SMALL, head

from mim_zoo.models import MIM


@pytest.fixture
def generator(tmp_path: Path, build_mim: Callable[..., MIM]) -> tuple[MIM, dict, str]:
    """A trained MAE, its config and its file."""
    cfg = dict(
        type='MAE',
        backbone=SMALL,
        corruption=dict(type='DropPatches'),
        head=head(dict(type='PixelTarget')) | dict(loss=dict(type='MaskedMSE')),
    )
    model = build_mim(**{k: v for k, v in cfg.items() if k != 'backbone'})
    path = str(tmp_path / 'generator.pth')
    torch.save({'state_dict': model.state_dict()}, path)
    return model, cfg, path


def hybrid(generator: tuple, **options: Any) -> dict:
    _, cfg, path = generator
    return dict(
        type='HybridTarget',
        target=dict(type='PixelTarget'),
        generator=cfg,
        checkpoint=path,
        **options,
    )


NECK = dict(type='LevelFusion', outputs=[[0], [1], [2]])


@pytest.mark.parametrize('alphas', [None, [0.0, 0.25, 1.0]])
def test_hybrid_targets_go_from_generator_to_truth(
    generator: tuple, build_mim: Any, random_mask: Any, alphas: list | None
) -> None:
    target = hybrid(generator, alphas=alphas)
    model = build_mim(neck=NECK, head=head(target))
    images, mask = torch.randn(2, 3, 32, 32), random_mask(2, 16, 12)
    features, plan = model.complete(images, mask)
    found = model.head.predict(features, images, plan)
    truth = generator[0].head.target(images)
    (guess,), _ = generator[0].decode(images, mask)
    for alpha, (_, mixed, _) in zip(alphas or [0, 0.5, 1], found.values()):
        expected = alpha * truth + (1 - alpha) * guess
        torch.testing.assert_close(mixed, expected)
    assert not any('generator' in k for k in model.state_dict())
    assert not any(p.requires_grad for p in model.head.target.parameters())
    drawn = model.head.target.invert(truth, images)
    torch.testing.assert_close(drawn, images, atol=1e-5, rtol=1e-5)


def test_the_generator_sees_what_the_student_sees(
    generator: tuple, build_mim: Any, random_mask: Any
) -> None:
    target = hybrid(generator, alphas=[0.0])
    model = build_mim(head=head(target))
    images, mask = torch.randn(1, 3, 32, 32), random_mask(1, 16, 12)
    _, plan = model.complete(images, mask)
    hidden = mask.view(1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    changed = torch.where(hidden, torch.randn(1, 3, 32, 32), images)
    (before,) = model.head.target.for_outputs(images, plan)
    (after,) = model.head.target.for_outputs(changed, plan)
    assert torch.equal(before, after)  # nothing hidden reaches it
    other = torch.where(hidden, images, torch.randn(1, 3, 32, 32))
    (moved,) = model.head.target.for_outputs(other, plan)
    assert not torch.allclose(before, moved)


def test_mistakes_of_hybrids(generator: tuple, build_mim: Any) -> None:
    with pytest.raises(ValueError, match=r'alphas=\[0.5\].*each of 3 outputs'):
        build_mim(neck=NECK, head=head(hybrid(generator, alphas=[0.5])))
    target = hybrid(generator)
    target['target'] = dict(type='HOGTarget')
    with pytest.raises(ValueError, match=r"'PixelTarget', True, 192, 8\), expected"):
        build_mim(neck=NECK, head=head(target))
    with pytest.raises(ValueError, match=r'alphas=None.*each of 1 outputs'):
        build_mim(head=head(hybrid(generator)))
    raw = dict(hybrid(generator), target=dict(type='PixelTarget', normalize=False))
    with pytest.raises(ValueError, match="'PixelTarget', False, 192, 8"):
        build_mim(neck=NECK, head=head(raw))


def test_a_generator_hides_as_the_student_does(
    generator: tuple, build_mim: Any, random_mask: Any
) -> None:
    model = build_mim(
        dict(class_token=False),
        corruption=dict(type='MixImages'),
        neck=NECK,
        head=head(hybrid(generator)),
    )
    with pytest.raises(ValueError, match='must hide patches as the trained model'):
        model.loss(torch.randn(2, 3, 32, 32), random_mask(2, 16, 8)[:1])
