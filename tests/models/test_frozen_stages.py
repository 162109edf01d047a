"""Encoders of which the stem, some stages or all parts learn no more."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mim_zoo import extract_features, get_model
from mim_zoo.models.encoder import Encoder
from mim_zoo.models.layers import DropPath
from mim_zoo.models.targets.teacher import teacher_of
from mim_zoo.registry import MODELS

TINY = dict(embed_dim=16, depth=3, num_heads=2)
PLAIN = dict(type='MIMViT', arch=TINY, img_size=16, patch_size=4, drop_path_rate=0.5)
WINDOWS = dict(class_token=False, window=2, rel_pos='decomposed')
STAGES = dict(embed_dim=16, depths=(1, 2, 1), num_heads=(1, 2, 4), windows=(2, 2, 2))
ENCODERS = dict(
    plain=PLAIN,
    learned=dict(PLAIN, learned_pos=True, layer_scale=0.1),
    shared=dict(PLAIN, rel_pos='shared'),
    windows=dict(PLAIN, **WINDOWS),
    recomputed=dict(PLAIN, with_cp=True),
    mixmim=dict(type='MixMIMViT', arch=STAGES, img_size=32, drop_path_rate=0.5),
)
IMAGES = torch.rand(2, 3, 32, 32)


def build(name: str, frozen: Any) -> Encoder:
    torch.manual_seed(0)
    return MODELS.build(dict(ENCODERS[name], frozen_stages=frozen))


def stage_of(name: str) -> int | None:
    """Of a parameter: 0 the stem, then the stages from 1; None for the last norm."""
    if name.startswith(('blocks.', 'layers.')):
        return int(name.split('.')[1]) + 1
    return None if name.startswith('norm.') else 0


def is_frozen(name: str, frozen: int) -> bool:
    stage = stage_of(name)
    return frozen == 3 if stage is None else stage <= frozen


def train_once(encoder: Encoder) -> None:
    params = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(params, lr=1.0, weight_decay=0.1)
    sum(m.square().mean() for m in encoder(IMAGES)).backward()
    optimizer.step()


@pytest.mark.parametrize('frozen', [-1, 0, 1, 2])
@pytest.mark.parametrize('name', ENCODERS)
def test_a_step_changes_what_is_not_frozen(name: str, frozen: int) -> None:
    encoder = build(name, frozen).train()
    for part in encoder.modules():
        if isinstance(part, DropPath):
            part.rate = 0.0  # a branch left out has no gradient
    free = build(name, -1)
    fixed = {k for k, p in free.named_parameters() if not p.requires_grad}
    before = copy.deepcopy(encoder.state_dict())
    train_once(encoder)
    for key, value in encoder.state_dict().items():
        still = key in fixed or is_frozen(key, frozen)
        assert torch.equal(value, before[key]) == still, key


@pytest.mark.parametrize('name', ENCODERS)
def test_all_stages_are_the_whole_encoder(name: str) -> None:
    encoder = build(name, 3).train()
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not any(part.training for part in encoder.modules())
    assert not any(m.requires_grad for m in encoder(IMAGES))


@pytest.mark.parametrize('name', ENCODERS)
def test_frozen_stages_keep_nothing_and_drop_no_path(name: str) -> None:
    encoder = build(name, 2).train()
    stages = encoder.get_stages()
    assert [stage.training for stage in stages] == [False, False, True]
    entered: list[Tensor] = []
    last = stages[2] if name != 'mixmim' else stages[2].blocks[0]
    last.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    for _ in range(2):
        assert encoder(IMAGES)[0].requires_grad
    assert torch.equal(entered[0], entered[1])
    assert not entered[0].requires_grad


def test_the_mode_comes_back() -> None:
    encoder = build('plain', 1).train()
    extract_features(encoder, IMAGES * 255)
    assert [block.training for block in encoder.blocks] == [False, True, True]
    encoder.eval()
    assert not any(part.training for part in encoder.modules())
    extract_features(encoder, IMAGES * 255)
    assert not any(part.training for part in encoder.modules())


@pytest.mark.parametrize('frozen', [-2, 4, 1.5, True, None, 'most'])
def test_a_number_that_there_is_not(frozen: Any) -> None:
    with pytest.raises(ValueError, match=rf'got {frozen!r}, expected 0 .* 1 to 3 '):
        build('plain', frozen)


def test_nothing_thaws() -> None:
    encoder = build('plain', 1)
    encoder.freeze(2)
    assert [block.training for block in encoder.blocks] == [False, False, True]
    encoder.freeze(2)
    for fewer in (1, -1):
        with pytest.raises(ValueError, match=f'got {fewer} after 2, expected more'):
            encoder.freeze(fewer)
    encoder.freeze(3)
    assert encoder.frozen_stages == 'all'
    encoder.freeze()
    with pytest.raises(ValueError, match="got 2 after 'all', expected more"):
        encoder.freeze(2)


def test_features_are_the_same_and_weights_load() -> None:
    free, frozen = build('mixmim', -1).eval(), build('mixmim', 2).eval()
    assert free.state_dict().keys() == frozen.state_dict().keys()
    torch.manual_seed(1)
    free.reset_parameters()
    frozen.load_state_dict(free.state_dict())
    torch.testing.assert_close(free(IMAGES)[0], frozen(IMAGES)[0])
    assert not frozen.patch_embed.proj.weight.requires_grad


def test_by_name() -> None:
    encoder = get_model('mim_vit_micro_patch16', frozen_stages='all')
    assert not any(p.requires_grad for p in encoder.parameters())


def test_pre_training_behind_a_frozen_encoder() -> None:
    """The decoder alone, as when it is made anew for the weights of an encoder."""
    head: dict[str, Any] = dict(
        type='MIMHead',
        target=dict(type='PixelTarget'),
        loss=dict(type='MaskedMSE'),
        decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
    )
    cfg = dict(type='MAE', corruption=dict(type='DropPatches'), head=head)
    model = MODELS.build(dict(cfg, backbone=dict(PLAIN, frozen_stages=3)))
    mask = torch.arange(16)[None] % 4 > 0
    loss = model.loss(torch.randn(2, 3, 16, 16), mask)['loss_0']
    loss.backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(p.grad is not None for p in model.head.parameters() if p.requires_grad)


def test_a_random_teacher_takes_no_frozen_stages() -> None:
    assert 'frozen_stages' not in teacher_of(dict(PLAIN, frozen_stages=2))['encoder']


def test_an_encoder_without_stages_is_frozen_as_a_whole() -> None:
    class Other(Encoder):
        def __init__(self) -> None:
            super().__init__(16, None)
            self.proj = nn.Linear(2, 2)
            self.norm = nn.LayerNorm(2)

    encoder = Other()
    with pytest.raises(ValueError, match='Other has no get_stages'):
        encoder.freeze(1)
    encoder.freeze()
    assert not any(p.requires_grad for p in encoder.parameters())
