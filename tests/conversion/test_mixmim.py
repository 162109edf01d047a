import pytest
import torch
import torch.nn.functional as F
from golden_models import MIXMIM, mixmim_model, same
from safetensors.torch import load_file, save_file

from mim_zoo.conversion import convert, from_ours, recognise, to_ours
from mim_zoo.conversion.mixmim import from_unfold_order, to_unfold_order
from mim_zoo.conversion.shapes import timm_call
from mim_zoo.models import Classifier
from mim_zoo.models.layers import PatchMerging

KINDS = ['mixmim', 'mixmim_encoder', 'mixmim_tuned']


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('target', ['mixmim', 'mmpretrain'])
def test_round_trips_are_equal_bit_for_bit(request, kind, target):
    source = request.getfixturevalue(kind)
    ours = to_ours(source)
    assert ours.source == 'mixmim'
    assert not ours.dropped
    there = from_ours(ours.state, target)
    assert not there.dropped
    back = to_ours(there.state)
    assert back.source == target
    assert not back.dropped
    assert same(back.state, ours.state)
    again = convert(there.state, 'mixmim')
    assert same(again.state, source)  # the indices included
    assert not again.derived


def test_indices_of_relative_positions_are_left_out_and_made_again(mixmim):
    ours = to_ours(mixmim)
    indices = [k for k in mixmim if k.endswith('relative_position_index')]
    assert len(indices) == 5
    assert ours.derived == convert(mixmim).derived
    assert ours.derived == [f'backbone.{name}' for name in indices]
    assert not any('index' in name for name in ours.state)
    for target, prefix in (('mixmim', ''), ('mmpretrain', 'backbone.')):
        made = from_ours(ours.state, target).state
        assert all(torch.equal(made[prefix + k], mixmim[k]) for k in indices)


@pytest.mark.parametrize('target', ['ours', 'mixmim', 'mmpretrain'])
def test_safetensors_takes_what_was_converted(tmp_path, mixmim, target):
    state = convert(mixmim, target).state
    save_file(state, tmp_path / 'w.safetensors')
    assert same(load_file(tmp_path / 'w.safetensors'), state)


def test_our_mixmim_has_these_names(mixmim):
    state = to_ours(mixmim).state
    model = mixmim_model()
    model.load_state_dict(state, strict=True)
    assert same(model.state_dict(), state)


def test_our_classifier_has_these_names(mixmim_tuned):
    model = Classifier(MIXMIM, num_classes=5, pool='avg', head_norm=None)
    model.load_state_dict(to_ours(mixmim_tuned).state, strict=True)
    assert torch.equal(model.head.weight, mixmim_tuned['head.weight'])


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        ('backbone.absolute_pos_embed', 'backbone.absolute_pos_embed'),
        ('backbone.patch_embed.proj.weight', 'backbone.patch_embed.projection.weight'),
        ('backbone.patch_embed.norm.bias', 'backbone.patch_embed.norm.bias'),
        (
            'backbone.layers.2.blocks.1.norm2.bias',
            'backbone.layers.2.blocks.1.ln2.bias',
        ),
        (
            'backbone.layers.0.blocks.0.mlp.fc1.weight',
            'backbone.layers.0.blocks.0.ffn.layers.0.0.weight',
        ),
        (
            'backbone.layers.3.blocks.0.mlp.fc2.bias',
            'backbone.layers.3.blocks.0.ffn.layers.1.bias',
        ),
        (
            'backbone.layers.1.blocks.0.attn.relative_position_bias_table',
            'backbone.layers.1.blocks.0.attn.relative_position_bias_table',
        ),
        ('backbone.norm.weight', 'backbone.norm.weight'),
        ('head.decoders.0.mask_token', 'neck.mask_token'),
        ('head.decoders.0.norm.weight', 'neck.ln1.weight'),
        (
            'head.decoders.0.blocks.1.attn.qkv.bias',
            'neck.decoder_blocks.1.attn.qkv.bias',
        ),
    ],
)
def test_names_of_mmpretrain(mixmim, ours, theirs):
    state = to_ours(mixmim).state
    assert from_ours(state, 'mmpretrain').state[theirs] is state[ours]


def test_classifiers_of_mmpretrain(mixmim_tuned, mixmim_encoder):
    tuned = convert(mixmim_tuned, 'mmpretrain').state
    assert torch.equal(tuned['head.fc.weight'], mixmim_tuned['head.weight'])
    encoder = convert(mixmim_encoder, 'mmpretrain').state
    bare = {k.removeprefix('backbone.'): v for k, v in encoder.items()}
    assert recognise(bare) == 'mmpretrain'
    assert same(convert(bare, 'mixmim').state, mixmim_encoder)


def test_patches_are_merged_to_the_same_in_both_orders():
    d, grid = 6, (4, 10)
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    merging = PatchMerging(d).double()
    names = {'norm.weight': (4 * d,), 'norm.bias': (4 * d,)}
    names['reduction.weight'] = (2 * d, 4 * d)
    ours = {name: random(*shape) for name, shape in names.items()}
    merging.load_state_dict(ours)
    x = random(2, d, *grid)  # (B, d, h, w)

    cells = F.unfold(x, kernel_size=2, stride=2).transpose(1, 2)  # (B, L, d * 2 * 2)
    theirs = {name: to_unfold_order(value) for name, value in ours.items()}
    affine = theirs['norm.weight'], theirs['norm.bias']
    cells = F.layer_norm(cells, (4 * d,), *affine, eps=1e-5)
    expected = F.linear(cells, theirs['reduction.weight'])
    found = merging(x.flatten(2).transpose(1, 2), grid)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    # and ours is the official order of the neighbours
    pieces = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
    official = torch.cat(pieces, dim=1).flatten(2).transpose(1, 2)
    official = merging.reduction(merging.norm(official))
    torch.testing.assert_close(found, official, rtol=1e-12, atol=1e-12)

    for name, value in ours.items():
        assert torch.equal(from_unfold_order(theirs[name]), value)


def test_mmpretrain_merges_in_its_own_order(mixmim):
    theirs = convert(mixmim, 'mmpretrain').state
    for part in ('norm.weight', 'norm.bias', 'reduction.weight'):
        name = f'layers.1.downsample.{part}'
        assert torch.equal(theirs[f'backbone.{name}'], to_unfold_order(mixmim[name]))
        assert torch.equal(to_ours(mixmim).state[f'backbone.{name}'], mixmim[name])


@pytest.mark.parametrize('target', ['timm', 'mae'])
def test_other_formats_have_no_place_for_mixmim(mixmim, target):
    with pytest.raises(ValueError, match=f'{target} has no place for a MixMIM.*mmpret'):
        convert(mixmim, target)
    with pytest.raises(ValueError, match='timm has no place for a MixMIM'):
        timm_call(to_ours(mixmim).state)


def test_plain_encoders_do_not_become_mixmim(mae):
    with pytest.raises(ValueError, match=r"mixmim has no place for a plain ViT.*'mae'"):
        convert(mae, 'mixmim')


@pytest.mark.parametrize(
    'name',
    ['layers.0.blocks.0.attn.logit_scale', 'layers.1.blocks.0.attn_mask', 'cls_token'],
)
def test_other_encoders_are_refused(mixmim, name):
    with pytest.raises(ValueError, match=f'Not a MixMIM encoder: no place for {name}'):
        convert({**mixmim, name: torch.zeros(1)})


def test_an_encoder_that_lacks_a_part_is_refused(mixmim):
    part = 'patch_embed.proj.weight'
    with pytest.raises(ValueError, match=f'Not a MixMIM encoder.*backbone.{part}'):
        to_ours({k: v for k, v in mixmim.items() if k != part})
    swin = {k: v for k, v in mixmim.items() if k != 'absolute_pos_embed'}
    with pytest.raises(ValueError, match=r'Not a|Unknown weights'):
        to_ours(swin)


def test_other_orders_of_relative_positions_are_refused(mixmim):
    name = 'layers.0.blocks.0.attn.relative_position_index'
    with pytest.raises(ValueError, match=f'{name}.*other values'):
        to_ours({**mixmim, name: mixmim[name].t()})
    table = 'layers.0.blocks.0.attn.relative_position_bias_table'
    with pytest.raises(ValueError, match=f'{table}: got 224 rows'):
        to_ours({**mixmim, table: mixmim[table][:-1]})
