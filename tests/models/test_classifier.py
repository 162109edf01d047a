"""Fine-tuning and linear probing."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mim_zoo.models import MIM, BatchAugment, Classifier
from mim_zoo.registry import MODELS

BACKBONE = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=2, num_heads=2),
    img_size=32,
    patch_size=8,
)


def build(backbone: dict | None = None, **changes: Any) -> Classifier:
    torch.manual_seed(0)
    cfg = dict(
        type='Classifier', backbone=dict(BACKBONE, **(backbone or {})), num_classes=5
    )
    cfg.update(changes)
    before = deepcopy(cfg)
    model = MODELS.build(cfg)
    assert cfg == before
    with torch.no_grad():  # the official init is next to zero: nothing would show
        model.head.weight.normal_()
    return model


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 32, 32)


SIZE = (32, 32)
LABELS = dict(gt_label=torch.tensor([0, 1, 2, 4]))


# --- pooling and norms -----------------------------------------------------------


@pytest.mark.parametrize('pool', ['avg', 'cls'])
@pytest.mark.parametrize('head_norm', ['layer', 'batch', None])
def test_logits(pool: str, head_norm: str | None) -> None:
    model = build(pool=pool, head_norm=head_norm).eval()
    x = images()
    tokens, pos = model.backbone.embed(x)
    last = model.backbone.encode(tokens + pos, [1], SIZE)[1]
    if head_norm != 'layer':
        last = model.backbone.norm(last)
    pooled = last[:, 1:].mean(1) if pool == 'avg' else last[:, 0]
    if head_norm == 'layer':
        norm = model.fc_norm
        pooled = F.layer_norm(pooled, (32,), norm.weight, norm.bias, 1e-6)
    elif head_norm == 'batch':
        with torch.no_grad():
            model.bn.running_mean.normal_()
        pooled = (pooled - model.bn.running_mean) / (model.bn.running_var + 1e-6).sqrt()
    features = model.extract_feat(x)  # what the linear layer sees
    torch.testing.assert_close(features, pooled, rtol=1e-4, atol=1e-5)
    expected = F.linear(pooled, model.head.weight, model.head.bias)
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('head_norm', ['layer', 'batch', None])
def test_features_after_every_block_end_with_what_the_linear_layer_sees(
    head_norm: str | None,
) -> None:
    model, x = build(head_norm=head_norm).eval(), images()
    first, last = model.extract_block_feats(x)
    assert torch.equal(last, model.extract_feat(x))
    tokens, pos = model.backbone.embed(x)
    after = model.backbone.encode(tokens + pos, [0], SIZE)[0]
    assert torch.equal(first, after[:, 1:].mean(1))


@pytest.mark.parametrize('frozen', [True, False])
@pytest.mark.parametrize('pool', ['avg', 'cls'])
@pytest.mark.parametrize('head_norm', ['layer', 'batch', None])
@pytest.mark.parametrize('learned_pos', [True, False])
def test_no_parameter_is_unused(
    pool: str, head_norm: str | None, frozen: bool, learned_pos: bool
) -> None:
    model = build(
        dict(learned_pos=learned_pos),
        pool=pool,
        head_norm=head_norm,
        freeze_backbone=frozen,
    )
    model.train()
    model(images(), LABELS, mode='loss')['loss'].backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    for name, parameter in model.named_parameters():
        used = parameter.grad is not None and bool(parameter.grad.isfinite().all())
        assert used == (name in trained), name
    head = {'head.weight', 'head.bias'}
    head |= {'fc_norm.weight', 'fc_norm.bias'} if head_norm == 'layer' else set()
    assert trained == head if frozen else trained > head
    assert ('backbone.pos_embed' in trained) == (learned_pos and not frozen)


def test_head_norms_of_the_recipes() -> None:
    layer, batch, none = (build(head_norm=n) for n in ('layer', 'batch', None))
    assert isinstance(layer.backbone.norm, nn.Identity)
    assert layer.fc_norm.eps == 1e-6
    assert isinstance(batch.backbone.norm, nn.LayerNorm)
    assert not list(batch.bn.parameters())
    assert batch.bn.eps == 1e-6
    assert isinstance(none.backbone.norm, nn.LayerNorm)
    explicit = build(dict(final_norm=True), head_norm='layer')  # a config's value wins
    assert isinstance(explicit.backbone.norm, nn.LayerNorm)


def test_head_init() -> None:
    torch.manual_seed(0)
    cfg = dict(type='Classifier', backbone=BACKBONE, num_classes=100)
    head = MODELS.build(cfg).head
    assert head.weight.std().item() == pytest.approx(2e-5, rel=0.1)
    assert (head.bias == 0).all()
    head = MODELS.build(dict(cfg, head_init_std=0.01)).head
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.1)


# --- freezing --------------------------------------------------------------------


@pytest.mark.parametrize('head_norm', ['batch', None])
def test_a_frozen_encoder_stays_as_it_is(head_norm: str | None) -> None:
    model = build(dict(drop_path_rate=0.5), freeze_backbone=True, head_norm=head_norm)
    assert not model.backbone.training  # from the start
    model.train()
    assert not any(m.training for m in model.backbone.modules())
    assert model.training
    before = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.1)
    x = images()
    first = model.extract_feat(x)
    for _ in range(2):
        optimizer.zero_grad()
        model(x, LABELS, mode='loss')['loss'].backward()
        optimizer.step()
    assert torch.equal(model.extract_feat(x), first)  # no drop path either
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith('backbone.'), name


def test_batch_norm_takes_the_batch_in_training() -> None:
    model = build(freeze_backbone=True, head_norm='batch')
    x = images(16)
    features = model.backbone.forward_features(x)[:, 1:].mean(1)
    normed = (features - features.mean(0)) / (
        features.var(0, unbiased=False) + 1e-6
    ).sqrt()
    model.train()
    torch.testing.assert_close(model(x), model.head(normed), rtol=1e-3, atol=1e-3)
    model.eval()
    assert not torch.allclose(model(x), model.head(normed), rtol=1e-3, atol=1e-3)


def test_frozen_features_build_no_graph() -> None:
    model = build(freeze_backbone=True, head_norm='batch').train()
    seen = []
    model.bn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(images(), LABELS, mode='loss')
    assert not seen[0].requires_grad
    assert model(images()).requires_grad


# --- losses and predictions ------------------------------------------------------


def test_losses_and_scores() -> None:
    model = build(label_smoothing=0.2).eval()
    x = images()
    logits = model(x)
    soft = F.one_hot(LABELS['gt_label'], 5) * 0.8 + 0.2 / 5
    expected = -(soft * logits.log_softmax(-1)).sum(-1).mean()
    torch.testing.assert_close(model(x, LABELS, mode='loss')['loss'], expected)
    records = model(x, dict(LABELS, img_path=list('abcd')), mode='predict')
    assert [r['img_path'] for r in records] == list('abcd')
    assert [int(r['gt_label']) for r in records] == [0, 1, 2, 4]
    scores = torch.stack([r['pred_score'] for r in records])
    torch.testing.assert_close(scores, logits.softmax(-1))
    assert not scores.requires_grad
    assert len(model(x, mode='predict')) == 4  # without labels


def test_it_learns() -> None:
    model = build().train()
    x, optimizer = images(), torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = model(x, LABELS, mode='loss')['loss']
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


# --- pre-trained weights ---------------------------------------------------------


@pytest.mark.parametrize('pool, head_norm', [('avg', 'layer'), ('cls', 'batch')])
def test_a_pretrained_encoder(
    build_mim: Callable[..., MIM], tmp_path: Path, pool: str, head_norm: str
) -> None:
    mim = build_mim(dict(arch=BACKBONE['arch']))
    torch.save(dict(state_dict=mim.state_dict()), tmp_path / 'mae.pth')
    source = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'mae.pth'), prefix='backbone.'
    )
    model = build(
        dict(init_cfg=source, img_size=48), pool=pool, head_norm=head_norm
    ).eval()
    model.init_weights()
    head = deepcopy(model.head.state_dict())
    x = images()
    tokens, pos = mim.backbone.embed(x)
    expected = mim.backbone.encode(tokens + pos, [1], SIZE)[1]
    if head_norm == 'batch':
        expected = mim.backbone.norm(expected)
    expected = expected[:, 1:].mean(1) if pool == 'avg' else expected[:, 0]
    at_home = build(dict(init_cfg=source), pool=pool, head_norm=head_norm).eval()
    at_home.init_weights()
    if head_norm == 'layer':
        expected = at_home.fc_norm(expected)
    torch.testing.assert_close(at_home.extract_feat(x), expected)
    # a larger build starts from the same weights, with its positions resampled
    big = torch.randn(2, 3, 48, 48)
    torch.testing.assert_close(
        model.backbone.forward_features(big), at_home.backbone.forward_features(big)
    )
    assert all(torch.equal(model.head.state_dict()[k], v) for k, v in head.items())


def test_a_poor_match_is_refused(build_mim: Callable[..., MIM], tmp_path: Path) -> None:
    torch.save(build_mim().state_dict(), tmp_path / 'mae.pth')
    source = dict(type='Pretrained', checkpoint=str(tmp_path / 'mae.pth'))
    for changes in (dict(arch=dict(embed_dim=48, depth=2, num_heads=2)), {}):
        cfg = dict(source, prefix='backbone.' if changes else 'encoder.')
        with pytest.raises(ValueError, match=r'min_share|prefix'):
            build(dict(init_cfg=cfg, **changes)).init_weights()


# --- augmentation ----------------------------------------------------------------


def test_augmentation_is_for_training_only() -> None:
    model = build(augment=dict(type='BatchAugment', erase=1.0))
    assert model.augment.num_classes == 5
    x = images()
    plain = F.cross_entropy(model.eval()(x), LABELS['gt_label'])
    torch.testing.assert_close(model(x, LABELS, mode='loss')['loss'], plain)
    model.train()
    first, second = (model(x, LABELS, mode='loss')['loss'] for _ in range(2))
    assert first != second
    assert first.isfinite()


# --- errors ----------------------------------------------------------------------


def test_mixup_needs_pairs() -> None:
    model = build(augment=dict(type='BatchAugment')).train()
    labels = dict(gt_label=torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r'batch of 3, expected an even.*drop_last'):
        model(images(3), labels, mode='loss')
    BatchAugment(5, mixup=0, cutmix=0)(images(3), labels['gt_label'])


@pytest.mark.parametrize('samples', [None, {}, dict(sample_idx=torch.arange(4))])
def test_missing_labels(samples: dict | None) -> None:
    with pytest.raises(ValueError, match='no gt_label; use a labelled data set'):
        build()(images(), samples, mode='loss')


@pytest.mark.parametrize('label', [5, -1])
def test_labels_out_of_range(label: int) -> None:
    labels = dict(gt_label=torch.tensor([0, 1, 2, label]))
    for augment in (None, dict(type='BatchAugment')):
        model = build(augment=augment).train()
        with pytest.raises((ValueError, IndexError, RuntimeError)):
            model(images(), labels, mode='loss')


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(head_norm='bn'), "got 'bn', expected 'layer'"),
        (dict(pool='mean'), "got 'mean', expected 'avg' or 'cls'"),
        (dict(backbone=dict(class_token=False), pool='cls'), 'no class token'),
        (dict(num_classes=0), 'num_classes'),
    ],
)
def test_impossible_builds(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_unknown_modes() -> None:
    with pytest.raises(ValueError, match="got 'train'"):
        build()(images(), LABELS, mode='train')


def test_smoothing_beside_augment_is_refused() -> None:
    with pytest.raises(ValueError, match='beside augment'):
        Classifier(
            backbone=dict(type='MIMViT', arch='micro', img_size=16, patch_size=8),
            num_classes=3,
            label_smoothing=0.1,
            augment=dict(type='BatchAugment'),
        )
