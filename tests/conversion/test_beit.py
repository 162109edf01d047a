"""Files of the symmetric branch of dBOT, which are in the format of BEiT."""

import pytest
import torch
from beit_models import (
    DEPTH,
    DIM,
    HEADS,
    INDEX,
    TABLE,
    absolute,
    fine_tuned,
    pre_trained,
)
from golden_models import same
from safetensors.torch import save_file

from mim_zoo.conversion import convert, from_ours, recognise, to_ours
from mim_zoo.conversion.shapes import (
    build_encoder,
    describe,
    encoder_arguments,
    timm_call,
)
from mim_zoo.models import DBOT, Classifier, MIMViT

KINDS = [pre_trained(), fine_tuned(), absolute()]


@pytest.mark.parametrize('source', KINDS)
def test_round_trips_are_equal_bit_for_bit(source):
    ours = to_ours(source)
    assert ours.source == recognise(source) == 'dbot'
    assert not ours.dropped
    assert ours.derived == [f'backbone.{k}' for k in source if k.endswith(INDEX)]
    assert recognise(ours.state) == 'ours'
    there = convert(ours.state, 'dbot')
    assert not there.dropped + there.idle
    assert same(there.state, source)  # the indices included
    assert same(convert(there.state).state, ours.state)
    assert not convert(source, 'dbot').derived


def test_our_names():
    source = pre_trained()
    ours = to_ours(source).state
    renamed = {
        f'backbone.rel_pos_bias.{TABLE}': f'rel_pos_bias.{TABLE}',
        'backbone.blocks.1.gamma_2': 'blocks.1.gamma_2',
        'corruption.token': 'mask_token',
        'head.decoders.0.pred.weight': 'lm_head.weight',
    }
    for name, theirs in renamed.items():
        assert torch.equal(ours[name], source[theirs])
    q, k, v = ours['backbone.blocks.0.attn.qkv.bias'].chunk(3)
    assert torch.equal(q, source['blocks.0.attn.q_bias'])
    assert not k.any()
    assert torch.equal(v, source['blocks.0.attn.v_bias'])
    name = f'blocks.1.attn.{TABLE}'
    tuned = fine_tuned()
    assert torch.equal(to_ours(tuned).state[f'backbone.{name}'], tuned[name])


def test_arguments_are_inferred():
    same_for_all = dict(
        arch=dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS),
        img_size=64,
        patch_size=16,
        in_channels=3,
        class_token=True,
        layer_scale=1.0,
    )
    for source, own in (
        (pre_trained(), dict(final_norm=True, rel_pos='shared', absolute_pos=False)),
        (fine_tuned(), dict(final_norm=False, rel_pos='block', absolute_pos=False)),
        (absolute(), dict(final_norm=True)),
        ({**absolute(), **pre_trained()}, dict(final_norm=True, rel_pos='shared')),
    ):
        heads = None if 'rel_pos' in own else HEADS
        found = encoder_arguments(to_ours(source).state, heads)
        assert found == {**same_for_all, **own}
    assert encoder_arguments(to_ours(pre_trained()).state, 1)['arch']['num_heads'] == 3


def test_plain_encoders_have_none_of_these_arguments(encoder):
    found = encoder_arguments(to_ours(encoder).state, 4)
    assert not {'rel_pos', 'layer_scale', 'absolute_pos'} & found.keys()


def test_what_a_file_holds_is_said():
    about = 'ViT 24 x 2, patch 16, 3 channels, relative positions, '
    assert describe(to_ours(pre_trained()).state) == f'{about}linear decoder'
    assert describe(to_ours(fine_tuned()).state) == f'{about}5 classes'
    assert describe(to_ours(absolute()).state) == 'ViT 24 x 2, patch 16, 3 channels'


def test_biases_of_keys_are_left_out():
    source = pre_trained()
    ours = to_ours(source).state
    name = 'backbone.blocks.1.attn.qkv.bias'
    q, k, v = ours[name].chunk(3)
    done = from_ours({**ours, name: torch.cat([q, k + 1, v])}, 'dbot')
    assert done.idle == [name]
    assert not done.dropped
    assert same(done.state, source)


def test_biases_of_keys_do_nothing():
    torch.manual_seed(0)
    encoder = MIMViT(dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS), img_size=64)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = encoder(images)[0]
        for block in encoder.blocks:
            block.attn.qkv.bias[DIM : 2 * DIM] += torch.randn(DIM)
        torch.testing.assert_close(encoder(images)[0], before)
        encoder.blocks[0].attn.qkv.bias[:DIM] += torch.randn(DIM)
        assert (encoder(images)[0] - before).abs().max() > 1e-3


def test_safetensors_takes_what_was_converted(tmp_path):
    for target in ('ours', 'dbot'):
        save_file(convert(fine_tuned(), target).state, tmp_path / 'w.safetensors')


@pytest.mark.parametrize('target', ['timm', 'mae', 'deepmim', 'mixmim', 'mmpretrain'])
def test_other_formats_have_no_place_for_these(target):
    for source in (pre_trained(), absolute()):
        with pytest.raises(
            ValueError, match=f'{target} has no place for a ViT as BEiT'
        ):
            convert(source, target)
    with pytest.raises(ValueError, match='timm has no place for a ViT as BEiT'):
        timm_call(to_ours(absolute()).state)


def test_the_encoder_alone():
    done = convert(pre_trained(), 'dbot', backbone_only=True)
    assert set(done.dropped) == {
        'corruption.token',
        'head.decoders.0.pred.weight',
        'head.decoders.0.pred.bias',
    }
    left = {'mask_token', 'lm_head.weight', 'lm_head.bias'}
    assert done.state.keys() == pre_trained().keys() - left


@pytest.mark.parametrize(
    'name',
    ['blocks.0.attn.k_norm.weight', 'cls_pt_layers.0.gamma_1', 'rel_pos_bias.other'],
)
def test_other_encoders_are_refused(name):
    with pytest.raises(ValueError, match=f'Not a ViT as BEiT trains it.*{name}'):
        to_ours({**pre_trained(), name: torch.zeros(1)})


def test_files_that_lack_a_part_are_refused():
    source = pre_trained()
    half = {k: v for k, v in source.items() if k != 'blocks.1.attn.v_bias'}
    with pytest.raises(ValueError, match=r'no place for blocks\.1\.attn\.q_bias'):
        to_ours(half)
    lost = {k: v for k, v in source.items() if 'rel_pos' not in k}
    with pytest.raises(ValueError, match=r'Not a ViT as BEiT.*expected positions'):
        encoder_arguments(to_ours(lost).state, HEADS)


def test_other_orders_of_relative_positions_are_refused():
    source = pre_trained()
    name = f'rel_pos_bias.{INDEX}'
    with pytest.raises(ValueError, match=f'{name}.*other values'):
        to_ours({**source, name: source[name].t()})
    table = f'rel_pos_bias.{TABLE}'
    with pytest.raises(ValueError, match=rf'{table}: got 51 rows.*\^2 \+ 3'):
        to_ours({**source, table: source[table][:-1]})


def test_several_or_deep_decoders_have_no_place():
    ours = to_ours(pre_trained()).state
    for name in ('head.decoders.1.pred.weight', 'head.decoders.0.embed.weight'):
        with pytest.raises(ValueError, match=rf'dbot has no place for {name}.*only'):
            convert({**ours, name: torch.zeros(32, DIM)}, 'dbot')


@pytest.mark.parametrize('source', KINDS)
def test_the_encoder_of_a_file_is_built_whole(source):
    state = to_ours(source).state
    encoder = build_encoder(state, HEADS)
    own = encoder.state_dict()
    theirs = {k[9:]: v for k, v in state.items() if k.startswith('backbone.')}
    assert same(own, theirs)
    assert encoder(torch.randn(1, 3, 64, 64))[0].isfinite().all()


def backbone(**options: object) -> dict:
    arch = dict(embed_dim=DIM, depth=DEPTH, num_heads=HEADS)
    common = dict(type='MIMViT', arch=arch, img_size=64)
    return {**common, 'layer_scale': 0.1, 'absolute_pos': False, **options}


def test_our_symmetric_dbot_has_these_names():
    model = DBOT(
        backbone=backbone(rel_pos='shared'),
        corruption=dict(type='MaskPatches'),
        head=dict(
            type='MIMHead',
            target=dict(type='TeacherTarget'),
            decoder=dict(type='LinearDecoder'),
            loss=dict(type='MaskedCosine'),
        ),
    )
    source = pre_trained()
    source['lm_head.weight'] = torch.randn(DIM, DIM)
    source['lm_head.bias'] = torch.randn(DIM)
    ours = to_ours(source).state
    missing, unexpected = model.load_state_dict(ours, strict=False)
    assert not unexpected
    assert all(name.startswith('head.target.teacher.') for name in missing)
    done = convert(model.state_dict(), 'dbot')
    assert same(done.state, source)
    assert sorted(done.dropped) == sorted(missing)


def test_our_classifier_has_these_names():
    model = Classifier(
        backbone(rel_pos='block'), num_classes=5, pool='avg', head_norm='layer'
    )
    model.load_state_dict(to_ours(fine_tuned()).state, strict=True)


@pytest.mark.parametrize('make', [pre_trained, fine_tuned])
def test_the_tool_writes_it_and_back(tool, tmp_path, capsys, make):
    source = make()
    src, ours, back = (tmp_path / name for name in ('a.pth', 'b.safetensors', 'c.pth'))
    torch.save({'model': source}, src)
    tool.main([str(src), str(ours)])
    said = capsys.readouterr().out
    assert 'names of dbot\n' in said
    assert 'dropped: nothing' in said
    assert 'follows from the rest: backbone.' in said
    tool.main([str(ours), str(back), '--to', 'dbot'])
    assert 'keys' not in capsys.readouterr().out
    assert same(torch.load(back, weights_only=True)['model'], source)


def test_the_tool_says_what_it_leaves_out(tool, tmp_path, capsys):
    ours = to_ours(pre_trained()).state
    for i in range(DEPTH):
        ours[f'backbone.blocks.{i}.attn.qkv.bias'] += 1
    torch.save(ours, tmp_path / 'ours.pth')
    tool.main([str(tmp_path / 'ours.pth'), str(tmp_path / 'dbot.pth'), '--to', 'dbot'])
    said = capsys.readouterr().out
    assert 'biases of keys do nothing: in backbone.blocks.0.attn.qkv.bias, ' in said
