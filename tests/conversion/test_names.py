import pytest
import torch

from mim_zoo.conversion import convert, from_ours, recognise, to_ours
from mim_zoo.models import Classifier

TINY = dict(embed_dim=48, depth=4, num_heads=4)


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def classifier(**kwargs) -> Classifier:
    backbone = dict(type='MIMViT', arch=TINY, img_size=64)
    return Classifier(backbone, num_classes=5, **kwargs)


@pytest.mark.parametrize('target', ['mae', 'mmpretrain'])
@pytest.mark.parametrize('kind', ['mae', 'encoder', 'fine_tuned', 'probe'])
def test_round_trips_are_equal_bit_for_bit(request, kind, target):
    source = request.getfixturevalue(kind)
    ours = to_ours(source)
    assert not ours.dropped
    assert len(ours.state) == len(source)
    there = from_ours(ours.state, target, ours.pool)
    assert not there.dropped
    back = to_ours(there.state)
    assert not back.dropped
    assert same(back.state, ours.state)
    assert same(convert(there.state, 'mae').state, source)


@pytest.mark.parametrize('kind', ['encoder', 'fine_tuned'])
def test_timm_has_the_official_names(request, kind):
    source = request.getfixturevalue(kind)
    assert same(convert(source, 'timm').state, source)


def test_formats_are_recognised(mae, encoder, probe):
    assert recognise(mae) == 'mae'
    assert recognise(probe) == 'mae'
    assert recognise(encoder) == 'timm'
    assert recognise(convert(mae).state) == 'ours'
    assert recognise(convert(mae, 'mmpretrain').state) == 'mmpretrain'
    with pytest.raises(ValueError, match=r'first names are layer4\.0.*mmpretrain'):
        recognise(['layer4.0.conv1.weight'])


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        ('backbone.patch_embed.proj.weight', 'backbone.patch_embed.projection.weight'),
        ('backbone.blocks.3.norm1.bias', 'backbone.layers.3.ln1.bias'),
        ('backbone.blocks.0.mlp.fc1.weight', 'backbone.layers.0.ffn.layers.0.0.weight'),
        ('backbone.blocks.0.mlp.fc2.weight', 'backbone.layers.0.ffn.layers.1.weight'),
        ('backbone.norm.weight', 'backbone.ln1.weight'),
        ('head.decoders.0.pos_embed', 'neck.decoder_pos_embed'),
        ('head.decoders.0.norm.weight', 'neck.ln1.weight'),
        ('head.decoders.0.blocks.1.norm2.bias', 'neck.decoder_blocks.1.ln2.bias'),
    ],
)
def test_names_of_mmpretrain(mae, ours, theirs):
    state = convert(mae).state
    assert from_ours(state, 'mmpretrain').state[theirs] is state[ours]


def test_heads_of_mmpretrain(fine_tuned, probe):
    tuned = convert(fine_tuned, 'mmpretrain').state
    assert {'backbone.ln2.weight', 'head.fc.weight'} <= tuned.keys()
    probed = convert(probe, 'mmpretrain').state
    assert {'neck.bn.running_var', 'head.layers.head.weight'} <= probed.keys()


def test_an_extracted_backbone_of_mmpretrain(encoder):
    state = convert(encoder, 'mmpretrain').state
    bare = {k.removeprefix('backbone.'): v for k, v in state.items()}
    assert same(convert(bare).state, convert(encoder).state)


@pytest.mark.parametrize(
    ('kind', 'head'),
    [
        ('fine_tuned', dict(pool='avg', head_norm='layer')),
        ('probe', dict(pool='cls', head_norm='batch')),
    ],
)
def test_our_classifiers_have_these_names(request, kind, head):
    state = to_ours(request.getfixturevalue(kind)).state
    classifier(**head).load_state_dict(state, strict=True)


def test_our_mae_has_these_names(mae):
    from mim_zoo.models import MAE

    decoder = dict(type='TransformerDecoder', embed_dim=32, depth=2, num_heads=4)
    model = MAE(
        backbone=dict(type='MIMViT', arch=TINY, img_size=64),
        corruption=dict(type='DropPatches'),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            decoder=decoder,
            loss=dict(type='MaskedMSE'),
        ),
    )
    model.load_state_dict(to_ours(mae).state, strict=True)


def test_dropped_weights_are_named(mae):
    timm = convert(mae, 'timm')
    assert 'head.decoders.0.mask_token' in timm.dropped
    assert len(timm.dropped) + len(timm.state) == len(mae)
    other = {**mae, 'low_pass_filter': torch.zeros(1)}
    assert convert(other).dropped == ['low_pass_filter']
    alone = convert(mae, backbone_only=True)
    assert all(k.startswith('backbone.') for k in alone.state)
    assert len(alone.dropped) + len(alone.state) == len(mae)


@pytest.mark.parametrize('name', ['blocks.0.ls1.gamma', 'norm_pre.weight', 'reg_token'])
def test_encoders_that_are_no_plain_vit_are_refused(encoder, name):
    with pytest.raises(ValueError, match=f'Not a plain ViT.*{name}'):
        convert({**encoder, name: torch.zeros(1)})


def test_batch_norm_folds_into_the_head_of_timm(probe):
    model = classifier(pool='cls', head_norm='batch').eval()
    model.load_state_dict(to_ours(probe).state)
    timm = convert(probe, 'timm')
    assert sorted(timm.folded) == [
        'bn.num_batches_tracked',
        'bn.running_mean',
        'bn.running_var',
    ]
    assert not timm.dropped
    images = torch.randn(2, 3, 64, 64)
    token = model.backbone.forward_features(images)[:, 0]
    folded = torch.nn.functional.linear(
        token, timm.state['head.weight'], timm.state['head.bias']
    )
    torch.testing.assert_close(folded, model(images), atol=1e-4, rtol=1e-4)
