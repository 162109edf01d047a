import pytest
import torch
import torch.nn.functional as F
from golden_models import MIXMIM, mixmim_model, same

from mim_zoo.conversion import convert, to_ours
from mim_zoo.conversion.shapes import build_encoder, describe, encoder_arguments
from mim_zoo.models import Classifier, MixMIMViT
from mim_zoo.registry import MODELS


def with_prefix(encoder: MixMIMViT) -> dict[str, torch.Tensor]:
    return {f'backbone.{k}': v for k, v in encoder.state_dict().items()}


@pytest.mark.parametrize('arch', ['micro', 'tiny', 'base', 'large', 'huge'])
def test_architectures_are_told_by_their_shapes(arch):
    size = 32 if arch in ('micro', 'tiny') else 224
    with torch.device('meta'):
        encoder = MixMIMViT(arch, img_size=size)
    found = encoder_arguments(with_prefix(encoder))
    assert found['arch'] == arch
    assert found['img_size'] == size
    with torch.device('meta'):
        again = MixMIMViT(**found)
    assert [s.window for s in again.layers] == [s.window for s in encoder.layers]
    assert again.levels == encoder.levels


@pytest.mark.parametrize('groups', [{}, dict(group_mode='embedding')])
def test_arguments_are_inferred(groups):
    made = dict(
        arch=dict(embed_dim=12, depths=(1, 2), num_heads=(3, 2), patch_size=2),
        img_size=24,
        in_channels=4,
        windows=(3, 6),
        final_norm=False,
        **groups,
    )
    made['arch']['mlp_ratio'] = 2.0
    state = with_prefix(MixMIMViT(**made))
    assert encoder_arguments(state) == made
    out = convert(state, 'mmpretrain')
    assert len(out.dropped) == 2 * bool(groups)  # what only ours has


def test_another_size_is_the_same_architecture():
    with torch.device('meta'):
        encoder = MixMIMViT('base', img_size=384, windows=(16, 16, 24, 12))
    found = encoder_arguments(with_prefix(encoder))
    assert (found['arch'], found['img_size']) == ('base', 384)
    assert found['windows'] == (16, 16, 24, 12)


def test_what_a_file_holds_is_said(mixmim, mixmim_tuned):
    assert describe(to_ours(mixmim).state) == (
        'MixMIM encoder 16 x 1-1-2-1, windows 8-8-8-4, patch 4, 3 channels, '
        'decoder of width 32'
    )
    assert describe(to_ours(mixmim_tuned).state).endswith('3 channels, 5 classes')


def test_the_encoder_of_a_file_is_built_whole(mixmim):
    encoder = build_encoder(to_ours(mixmim).state)
    images = torch.randn(2, 3, 128, 128)
    model = mixmim_model()
    model.load_state_dict(to_ours(mixmim).state)
    assert torch.equal(encoder(images)[0], model.backbone(images)[0])


def probe() -> Classifier:
    torch.manual_seed(0)
    model = Classifier(MIXMIM, 5, pool='avg', head_norm='batch', head_init_std=1.0)
    model(torch.randn(8, 3, 128, 128), mode='tensor')  # statistics
    return model.eval()


def test_a_linear_probe_folds_into_the_official_head():
    model = probe()
    out = convert(model.state_dict(), 'mixmim')
    assert out.folded == [f'bn.{k}' for k, _ in model.bn.named_buffers()]
    assert not out.dropped
    images = torch.randn(2, 3, 128, 128)
    features = model.backbone.forward_features(images).mean(1)
    folded = F.linear(features, out.state['head.weight'], out.state['head.bias'])
    torch.testing.assert_close(folded, model(images), atol=1e-4, rtol=1e-4)


def test_a_linear_probe_of_mmpretrain_has_a_batch_norm():
    state = probe().state_dict()
    out = convert(state, 'mmpretrain')
    assert {'neck.bn.running_var', 'head.fc.weight'} <= out.state.keys()
    assert same(to_ours(out.state).state, state)


def test_a_head_without_its_norm_is_refused():
    model = Classifier(MIXMIM, num_classes=5, pool='avg', head_norm='layer')
    for target in ('mixmim', 'mmpretrain'):
        with pytest.raises(ValueError, match=r'for fc_norm.*--backbone-only'):
            convert(model.state_dict(), target)
        alone = convert(model.state_dict(), target, backbone_only=True)
        assert {'fc_norm.weight', 'head.weight'} <= set(alone.dropped)


@pytest.mark.parametrize('target', ['mixmim', 'mmpretrain'])
def test_a_decoder_does_not_go_where_its_group_embeddings_cannot(target):
    state = mixmim_model(group_mode='embedding').state_dict()
    assert same(convert(state).state, state)
    with pytest.raises(
        ValueError,
        match=rf'{target} has no place for backbone\.layers\.0\.group_embed.*'
        r'\(--backbone-only\)',
    ):
        convert(state, target)
    alone = convert(state, target, backbone_only=True)
    assert {f'backbone.layers.{i}.group_embed' for i in range(4)} <= set(alone.dropped)
    assert not any('decoder' in name for name in alone.state)


def test_other_grids_than_squares_are_told_by_their_positions():
    encoder = MODELS.build({**MIXMIM, 'img_size': (128, 256)})
    assert encoder_arguments(with_prefix(encoder))['img_size'] == (128, 256)
    torch.nn.init.normal_(encoder.absolute_pos_embed, std=0.02)
    with pytest.raises(
        ValueError, match=r'got 2048 learned positions.*expected a square.*img_size='
    ):
        encoder_arguments(with_prefix(encoder))
