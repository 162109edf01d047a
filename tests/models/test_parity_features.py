"""Numbers of the official dBOT and DeepMIM (tiny random models), published sizes."""

import re

import pytest
import torch
from parity import DATA, count, full_mae, relative, tiny_mae
from safetensors.torch import load_file
from torch import Tensor, nn

from mim_zoo.models import MIM
from mim_zoo.models.targets import Target
from mim_zoo.models.targets.pixels import standardize


def mask_of(noise: Tensor) -> Tensor:
    """(B, L): all but the quarter with the least noise is hidden."""
    return noise.argsort(1).argsort(1) >= noise.shape[1] // 4


def dbot(backbone: dict, **decoder: object) -> dict:
    """The parts in which dBOT differs from MAE."""
    return dict(
        type='DBOT',
        backbone=backbone,
        head=dict(
            type='MIMHead',
            target=dict(type='TeacherTarget', norm=False, normalize=True),
            decoder=dict(type='TransformerDecoder', **decoder),
            loss=dict(type='MaskedSmoothL1', beta=2.0),
            score_prefix=True,
        ),
    )


def part(numbers: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {k.removeprefix(name): v for k, v in numbers.items() if k.startswith(name)}


TINY = dict(type='MIMViT', arch=dict(embed_dim=48, depth=4, num_heads=4), img_size=64)


def test_dbot_official_numbers() -> None:
    numbers = load_file(DATA / 'dbot_tiny.safetensors')
    model = tiny_mae(4, **dbot(TINY, embed_dim=32, depth=2, num_heads=4)).eval()
    state = {}
    for name, value in part(numbers, 'student.').items():
        name = name.replace('decoder_predp', 'decoder_pred')
        ours = re.sub(r'^decoder_', 'head.decoders.0.', name)
        if name == 'mask_token':
            ours = 'head.decoders.0.mask_token'
        state[ours if ours.startswith('head.') else f'backbone.{name}'] = value
    teacher = part(numbers, 'teacher.')
    state |= {f'head.target.teacher.encoder.{k}': v for k, v in teacher.items()}
    model.load_state_dict(state)  # strict: every official key has a place

    images, mask = numbers['images'], mask_of(numbers['noise'])
    features, plan = model.complete(images, mask)
    pred, target, scored = model.heads[0].predict(features, images, plan)['loss_0']
    assert torch.equal(scored, numbers['mask_with_cls'].bool())
    # the file has the teacher's last block, which the official loss standardises
    assert relative(target, standardize(numbers['target'])) < 1e-5
    assert relative(pred, numbers['pred']) < 1e-5
    loss = model.loss(images, mask)['loss_0']
    assert relative(loss, numbers['loss']) < 1e-5
    loss.backward()
    gradient = model.backbone.blocks[0].attn.qkv.weight.grad
    assert gradient is not None
    assert relative(gradient.norm(), numbers['grad_norm_block0_qkv']) < 1e-4
    assert all(p.grad is None for p in model.heads[0].target.parameters())


class Given(Target):
    """Features of a teacher as they are."""

    dim = 512
    features: Tensor

    def forward(self, images: Tensor) -> Tensor:
        return self.features


def deepmim(**decoder: object) -> dict:
    """The parts in which DeepMIM with four outputs differs from MAE."""
    return dict(
        type='DeepMIM',
        neck=dict(type='LevelFusion', outputs=[[5], [7], [9], [11]]),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            decoder=dict(type='TransformerDecoder', **decoder),
            loss=dict(type='MaskedCosine'),
        ),
    )


def test_deepmim_official_losses() -> None:
    numbers = load_file(DATA / 'deepmim_clip_tiny.safetensors')
    parts = deepmim(embed_dim=32, depth=2, num_heads=4)
    parts['head']['target'] = dict(type=Given)
    model = tiny_mae(12, **parts)
    state = {}
    for name, value in part(numbers, 'state.').items():
        if name == 'decoder_pos_embed':
            for i in range(4):
                state[f'head.decoders.{i}.pos_embed'] = value
        elif match := re.match(r'(?:decoder_|(?=mask_token))(\D+)(\d)(.*)', name):
            what, k, rest = match.groups()
            state[f'head.decoders.{int(k) - 1}.{what}{rest}'] = value
        else:
            state[f'backbone.{name}'] = value
    model.load_state_dict(state)

    model.heads[0].target.features = numbers['teacher_features'][:, 1:]
    losses = model.loss(numbers['images'], mask_of(numbers['noise']))
    assert relative(torch.stack(list(losses.values())), numbers['losses']) < 1e-5
    sum(losses.values()).backward()
    gradient = model.backbone.blocks[0].attn.qkv.weight.grad
    assert gradient is not None
    assert relative(gradient.norm(), numbers['grad_norm_block0_qkv']) < 1e-4


def trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    'arch, total',
    [
        ('base', 111_907_840),
        ('large', 303_301_632 + 26_270_720 + 100_864),
        ('huge', 630_764_800 + 26_533_120 + 131_584),
    ],
)
def test_dbot_totals(arch: str, total: int) -> None:
    model = full_mae(arch, **dbot(dict(type='MIMViT', arch=arch)))
    teacher = count(model.heads[0].target)
    assert count(model) - teacher == total
    assert teacher == count(model.backbone)
    assert trained(model.heads[0].target) == 0


def test_deepmim_clip_totals() -> None:
    parts = deepmim(depth=4)
    parts['head']['target'] = dict(
        type='TeacherTarget',
        teacher=dict(
            type='TimmTeacher',
            model='vit_base_patch16_clip_quickgelu_224.openai',
            project=True,
        ),
    )
    model: MIM = full_mae('base', **parts)
    assert model.heads[0].target.dim == 512
    positions = 100_864  # each decoder has the table that the official ones share
    assert count(model) - count(model.heads[0].target) == 138_969_344 + 3 * positions
    assert trained(model) == 138_717_184
