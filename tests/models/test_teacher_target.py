"""Targets of frozen networks, ours and timm's."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from mim_zoo.engine.loading import load_weights
from mim_zoo.models import TeacherTarget
from mim_zoo.models.targets.pixels import standardize
from mim_zoo.models.targets.teacher import resample_tokens
from mim_zoo.models.units import IMAGENET_MEAN, IMAGENET_STD

CLIP = 'vit_base_patch16_clip_quickgelu_224.openai'
SMALL = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=3, num_heads=2),
    img_size=32,
    patch_size=8,
)
COSINE = dict(type='MaskedCosine')


def of_timm(**options: Any) -> dict:
    return dict(type='TimmTeacher', model='test_vit', pretrained=False, **options)


def head(target: dict, **changes: Any) -> dict:
    return dict(
        type='MIMHead',
        target=target,
        loss=COSINE,
        decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
        **changes,
    )


def imagenet(stride: int, **options: Any) -> TeacherTarget:
    """The target on images with ImageNet's statistics."""
    torch.manual_seed(0)
    return TeacherTarget(stride=stride, mean=IMAGENET_MEAN, std=IMAGENET_STD, **options)


def test_clip_tokens_are_timms_projected_ones() -> None:
    target = imagenet(
        16, teacher=dict(type='TimmTeacher', model=CLIP, pretrained=False, project=True)
    )
    images = torch.randn(1, 3, 224, 224)
    tokens = target(images)
    assert tokens.shape == (1, 196, 512)
    model = target.teacher.model
    scale = torch.tensor([0.852475, 0.857244, 0.815876]).view(-1, 1, 1)
    shift = torch.tensor([0.013198, -0.006994, -0.008016]).view(-1, 1, 1)
    with torch.no_grad():
        other = images * scale + shift  # what the fact sheet calculated
        torch.testing.assert_close(target.prepare(images), other, atol=2e-5, rtol=0)
        whole = model.head(model.forward_features(target.prepare(images)))
    torch.testing.assert_close(tokens, whole[:, 1:], atol=1e-4, rtol=1e-4)


def test_renormalisation_is_that_of_the_pixels() -> None:
    target = imagenet(16, teacher=of_timm())
    pixels = torch.rand(2, 3, 32, 32) * 255
    ours = (pixels - target.mean) / target.std
    cfg = timm.create_model('test_vit').pretrained_cfg
    mean, std = (torch.tensor(cfg[k]).view(-1, 1, 1) for k in ('mean', 'std'))
    torch.testing.assert_close(target.prepare(ours), (pixels / 255 - mean) / std)


def test_layers_norm_and_standardisation() -> None:
    images = torch.randn(2, 3, 48, 48)
    for norm in (True, False):
        target = imagenet(16, teacher=of_timm(), norm=norm, layers=[-2, -1])
        model = target.teacher.model
        with torch.no_grad():
            maps = model.forward_intermediates(
                target.prepare(images),
                indices=[len(model.blocks) - 2, len(model.blocks) - 1],
                norm=norm,
                intermediates_only=True,
            )
        levels = [m.flatten(2).transpose(1, 2) for m in maps]
        torch.testing.assert_close(target(images), (levels[0] + levels[1]) / 2)
        target.normalize = True
        mean = (standardize(levels[0]) + standardize(levels[1])) / 2
        torch.testing.assert_close(target(images), standardize(mean))
    one = imagenet(16, teacher=of_timm(), normalize=True)(images)
    torch.testing.assert_close(one.var(-1), torch.ones(2, 9), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    'model, stride', [('test_vit', 16), ('test_convnext', 16), ('test_resnet', 16)]
)
def test_any_model_on_any_grid(model: str, stride: int) -> None:
    teacher = dict(type='TimmTeacher', model=model, pretrained=False)
    target = imagenet(stride, teacher=teacher)
    x = target(torch.randn(2, 3, 96, 160))
    assert x.shape == (2, 60, target.dim)
    assert x.isfinite().all()


def test_a_size_for_the_teacher() -> None:
    target = imagenet(16, teacher=of_timm(), size=160)
    seen = []
    target.teacher.model.patch_embed.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].shape)
    )
    assert target(torch.randn(2, 3, 48, 48)).shape[:2] == (2, 9)
    assert seen == [(2, 3, 160, 160)]


def test_resampling_keeps_prefix_and_planes() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing='ij')
    plane = torch.stack([y, x], dim=-1).view(1, 64, 2)
    tokens = torch.cat([torch.full((1, 1, 2), 9.0), plane], dim=1)
    out = resample_tokens(tokens, (8, 8), (4, 4))
    assert torch.equal(out[:, 0], tokens[:, 0])
    inner = out[:, 1:].view(4, 4, 2)[1:-1, 1:-1]
    expected = torch.tensor([2.5, 4.5])
    torch.testing.assert_close(inner[..., 0], expected[:, None].expand(2, 2))
    torch.testing.assert_close(inner[..., 1], expected.expand(2, 2))
    assert resample_tokens(tokens, (8, 8), (8, 8)) is tokens


def test_an_encoder_from_a_checkpoint(tmp_path: Path, build_mim: Any) -> None:
    pretrained = build_mim()
    torch.save({'state_dict': pretrained.state_dict()}, tmp_path / 'mae.pth')
    teacher = dict(
        type='EncoderTeacher', encoder=SMALL, checkpoint=str(tmp_path / 'mae.pth')
    )
    model = build_mim(head=head(dict(type='TeacherTarget', teacher=teacher)))
    target = model.head.target
    images = torch.randn(2, 3, 32, 32)
    own = target.teacher.encoder
    before = own.blocks[0].attn.qkv.weight.clone()
    model.init_weights()
    assert not torch.equal(own.blocks[0].attn.qkv.weight, before)
    expected = pretrained.backbone.forward_features(images)[:, 1:]
    assert torch.equal(target(images), expected)
    # what is in a file already is in no checkpoint, and is not missed there
    state = model.state_dict()
    assert not [k for k in state if 'teacher' in k]
    model.load_state_dict(state)
    assert load_weights(model, state, min_share=1.0).missing == []
    assert torch.equal(target(images), expected)
    wrong = deepcopy(teacher)
    wrong['encoder'] = dict(SMALL, patch_size=4)
    model = build_mim(head=head(dict(type='TeacherTarget', teacher=wrong)))
    with pytest.raises(ValueError, match='MIMViT, from'):
        model.init_weights()


def test_a_random_teacher_is_in_the_checkpoint(build_mim: Any) -> None:
    model = build_mim(head=head(dict(type='TeacherTarget', norm=False)))
    names = [k for k in model.state_dict() if 'target.teacher.encoder.' in k]
    assert len(names) == len(model.backbone.state_dict())
    random = build_mim(head=head(dict(type='TeacherTarget', teacher=of_timm())))
    assert any('target.teacher.model.' in k for k in random.state_dict())
    assert not any('data_preprocessor' in k for k in random.state_dict())


def test_timm_weights_from_a_local_file(tmp_path: Path) -> None:
    trained = timm.create_model('test_vit')
    torch.save(trained.state_dict(), tmp_path / 'vit.pth')
    teacher = dict(
        type='TimmTeacher', model='test_vit', checkpoint=str(tmp_path / 'vit.pth')
    )
    target = imagenet(16, teacher=teacher)
    assert not target.state_dict()
    target.load()
    own = target.teacher.model.state_dict()
    assert all(torch.equal(own[k], v) for k, v in trained.state_dict().items())
    (tmp_path / 'vit.pth').write_bytes(b'not weights')
    with pytest.raises(ValueError, match=r'could not read test_vit from .*vit\.pth'):
        imagenet(16, teacher=teacher).load()


def test_gradients_and_modes(build_mim: Any, random_mask: Any) -> None:
    model = build_mim(head=head(dict(type='TeacherTarget'))).train()
    teacher = model.head.target.teacher
    assert not any(part.training for part in teacher.modules())
    model.loss(torch.randn(2, 3, 32, 32), random_mask(2, 16, 12))['loss_0'].backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_mistakes_of_teachers(build_mim: Any) -> None:
    build = TeacherTarget
    with pytest.raises(ValueError, match='got no teacher and no encoder'):
        build(stride=8)
    with pytest.raises(ValueError, match="timm has no model 'vit_bas'"):
        build(stride=8, teacher=dict(type='TimmTeacher', model='vit_bas'))
    with pytest.raises(ValueError, match='beside pretrained=False'):
        build(stride=8, teacher=of_timm(checkpoint='a.pth'))
    with pytest.raises(ValueError, match='got images of 4 channels, expected 3'):
        build(stride=8, teacher=of_timm(), in_channels=4)
    with pytest.raises(ValueError, match=r'layers: got index 99'):
        build(stride=8, teacher=of_timm(), layers=[99])
    with pytest.raises(ValueError, match=r'layers: got -1, expected a list'):
        build(stride=8, teacher=of_timm(), layers=-1)
    with pytest.raises(ValueError, match=r'\(60, 60\) pixels: .*Fix: Teacher.*size='):
        net = dict(type='TimmTeacher', model='test_vit', pretrained=False)
        imagenet(10, teacher=net)(torch.zeros(1, 3, 60, 60))
    with pytest.raises(ValueError, match='all of one width'):
        net = dict(type='TimmTeacher', model='test_convnext', pretrained=False)
        build(stride=8, teacher=net, layers=[0, 1, 2])
    with pytest.raises(ValueError, match=r'got project=True.*leave out project'):
        net = dict(
            type='TimmTeacher',
            model='vit_small_patch16_224.dino',
            pretrained=False,
            project=True,
        )
        build(stride=8, teacher=net)
    with pytest.raises(ValueError, match='1 prefix tokens to score'):
        build_mim(
            head=head(dict(type='TeacherTarget', teacher=of_timm()), score_prefix=True)
        )
    with pytest.raises(ValueError, match='without prefix tokens'):
        build_mim(
            dict(class_token=False),
            head=head(dict(type='TeacherTarget'), score_prefix=True),
        )


def test_what_could_not_be_read_is_not_taken_for_read(
    tmp_path: Path, build_mim: Any, random_mask: Any
) -> None:
    teacher = dict(
        type='EncoderTeacher', encoder=SMALL, checkpoint=str(tmp_path / 'none.pth')
    )
    model = build_mim(head=head(dict(type='TeacherTarget', teacher=teacher)))
    for _ in range(2):
        with pytest.raises(ValueError, match='no such file'):
            model.loss(torch.randn(2, 3, 32, 32), random_mask(2, 16, 12))
