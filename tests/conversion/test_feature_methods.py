"""Files of the official DeepMIM and of the main branch of dBOT."""

import re

import pytest
import torch
from golden_models import same

from mim_zoo.conversion import convert, from_ours, recognise, to_ours
from mim_zoo.conversion.shapes import build_encoder, describe
from mim_zoo.models import Classifier, MIMViT, TransformerDecoder

POS = 'decoder_pos_embed'
TEACHER = 'head.target.teacher.encoder.'


def decoder(state, index: int, out_channels: int) -> TransformerDecoder:
    """Our decoder, every weight of it taken from ``state`` (our names)."""
    made = TransformerDecoder(
        in_channels=48,
        out_channels=out_channels,
        grid=(4, 4),
        prefix_tokens=1,
        embed_dim=32,
        depth=2,
        num_heads=4,
    )
    prefix = f'head.decoders.{index}.'
    own = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    made.load_state_dict(own, strict=True)
    return made


def with_decoders(deepmim, numbers) -> dict[str, torch.Tensor]:
    """DeepMIM of other decoders: the first one under these numbers."""
    state = {k: v for k, v in deepmim.items() if not re.match(r'\w+\d', k)}
    first = {k: v for k, v in deepmim.items() if re.match(r'[a-z_]+1\b', k)}
    for number in numbers:
        state |= {re.sub('1', str(number), k, count=1): v for k, v in first.items()}
    return state


def with_teacher(ours, teacher) -> dict[str, torch.Tensor]:
    """As a checkpoint of ours, with the teacher before and after the rest."""
    frozen = {f'{TEACHER}{k}': v for k, v in teacher.items()}
    half = len(frozen) // 2
    items = list(frozen.items())
    return dict(items[:half]) | dict(ours) | dict(items[half:])


@pytest.mark.parametrize('kind', ['deepmim', 'dbot'])
def test_round_trips_are_equal_bit_for_bit(request, kind):
    source = request.getfixturevalue(kind)
    ours = to_ours(source)
    assert ours.source == recognise(source) == kind
    assert not ours.dropped
    there = from_ours(ours.state, kind)
    assert not there.dropped
    assert same(there.state, source)
    assert same(to_ours(there.state).state, ours.state)


def test_our_decoders_have_these_names(deepmim, dbot):
    deep, boot = to_ours(deepmim).state, to_ours(dbot).state
    for i in range(4):
        made = decoder(deep, i, 512)
        assert torch.equal(made.pred.weight, deepmim[f'decoder_pred{i + 1}.weight'])
        theirs = deepmim[f'decoder_blocks{i + 1}.1.mlp.fc2.bias']
        assert torch.equal(made.blocks[1].mlp.fc2.bias, theirs)
        assert torch.equal(made.mask_token, deepmim[f'mask_token{i + 1}'])
        assert torch.equal(made.pos_embed, deepmim[POS])
    made = decoder(boot, 0, 48)
    assert torch.equal(made.pred.weight, dbot['decoder_predp.weight'])
    assert torch.equal(made.mask_token, dbot['mask_token'])
    for state, source, depth in ((deep, deepmim, 12), (boot, dbot, 4)):
        blocks = build_encoder(state, num_heads=4).blocks
        assert len(blocks) == depth
        last = source[f'blocks.{depth - 1}.attn.proj.weight']
        assert torch.equal(blocks[-1].attn.proj.weight, last)


def test_what_a_file_holds_is_said(deepmim, dbot):
    assert describe(to_ours(deepmim).state) == (
        'ViT 48 x 12, patch 16, 3 channels, 4 decoders of width 32'
    )
    assert describe(to_ours(dbot).state).endswith('3 channels, decoder of width 32')


@pytest.mark.parametrize('count', [1, 2, 9])
def test_any_number_of_decoders(deepmim, count):
    source = with_decoders(deepmim, range(1, count + 1))
    ours = to_ours(source)
    assert not ours.dropped
    assert f'head.decoders.{count - 1}.pred.bias' in ours.state
    assert f'head.decoders.{count}.pred.bias' not in ours.state
    assert same(from_ours(ours.state, 'deepmim').state, source)


@pytest.mark.parametrize('numbers', [(1, 3), (2, 3), (0, 1), tuple(range(1, 11))])
def test_other_numbers_of_decoders_are_refused(deepmim, numbers):
    source = with_decoders(deepmim, numbers)
    with pytest.raises(ValueError, match=r'Not DeepMIM.*numbers.*without a gap'):
        to_ours(source)


def test_more_decoders_than_deepmim_has_are_refused(deepmim):
    ours = to_ours(with_decoders(deepmim, range(1, 10))).state
    ours['head.decoders.9.mask_token'] = ours['head.decoders.0.mask_token']
    with pytest.raises(ValueError, match=r'deepmim has no place for head\.decoders\.9'):
        from_ours(ours, 'deepmim')


def test_positions_that_differ_have_no_place_in_deepmim(deepmim):
    ours = to_ours(deepmim).state
    name = 'head.decoders.2.pos_embed'
    ours[name] = ours[name] + 1
    with pytest.raises(ValueError, match=r'pos_embed: got decoders with different pos'):
        from_ours(ours, 'deepmim')
    assert same(to_ours(ours).state, ours)
    alone = convert(ours, 'deepmim', backbone_only=True)
    assert name in alone.dropped
    assert recognise(alone.state) == 'timm'


@pytest.mark.parametrize('target', ['mae', 'dbot', 'mmpretrain'])
def test_several_decoders_go_nowhere_else(deepmim, target):
    with pytest.raises(ValueError, match=rf'{target} has no place for head\.decoders'):
        convert(deepmim, target)
    alone = convert(deepmim, target, backbone_only=True).state
    assert len(alone) == sum(bool(re.match('cls|pos|pat|bl|norm', k)) for k in deepmim)


def test_one_decoder_goes_everywhere(mae, dbot):
    numbered = convert(mae, 'deepmim').state
    assert torch.equal(numbered['decoder_pred1.weight'], mae['decoder_pred.weight'])
    assert same(convert(numbered, 'mae').state, mae)
    renamed = convert(mae, 'dbot').state
    assert torch.equal(renamed['decoder_predp.weight'], mae['decoder_pred.weight'])
    assert same(convert(convert(dbot, 'mmpretrain').state, 'dbot').state, dbot)


@pytest.mark.parametrize('target', ['timm', 'deepmim', 'dbot', 'mae'])
def test_fine_tuned_models_have_the_names_of_timm(fine_tuned, encoder, target):
    for source in (fine_tuned, encoder):
        done = convert(source, target)
        assert done.source == 'timm'
        assert not done.dropped
        assert same(done.state, source)
    model = Classifier(
        dict(type='MIMViT', arch=dict(embed_dim=48, depth=4, num_heads=4), img_size=64),
        num_classes=5,
        pool='avg',
        head_norm='layer',
    )
    model.load_state_dict(to_ours(fine_tuned).state, strict=True)


def test_the_file_of_a_teacher_is_a_plain_encoder(dbot_teacher):
    done = to_ours(dbot_teacher)
    assert done.source == 'timm'
    assert not done.dropped
    encoder = MIMViT(dict(embed_dim=48, depth=4, num_heads=4), img_size=64)
    own = {k.removeprefix('backbone.'): v for k, v in done.state.items()}
    encoder.load_state_dict(own, strict=True)
    assert same(convert(done.state, 'dbot').state, dbot_teacher)


@pytest.mark.parametrize('target', ['dbot', 'timm', 'mmpretrain'])
def test_the_teacher_in_our_checkpoints_is_dropped(dbot, dbot_teacher, target):
    ours = to_ours(dbot).state
    state = with_teacher(ours, dbot_teacher)
    done = convert(state, target)
    assert done.source == 'ours'
    assert same(done.state, convert(ours, target).state)
    dropped = {name for name in done.dropped if name.startswith(TEACHER)}
    assert dropped == {f'{TEACHER}{name}' for name in dbot_teacher}
    assert describe(state) == describe(ours)
    assert same(convert(state).state, state)


def test_the_teacher_of_a_fine_tuned_size_is_no_classifier(dbot, dbot_teacher):
    teacher = {**dbot_teacher, 'head.weight': torch.zeros(5, 48)}
    state = with_teacher(to_ours(dbot).state, teacher)
    assert same(convert(state, 'dbot').state, dbot)
    assert 'classes' not in describe(state)


@pytest.mark.parametrize('target', ['deepmim', 'dbot'])
def test_other_encoders_have_no_place_there(mixmim, mff, target):
    with pytest.raises(ValueError, match=f'{target} has no place for a MixMIM encoder'):
        convert(mixmim, target)
    with pytest.raises(ValueError, match=rf'{target} has no place for neck\.fusions'):
        convert(mff, target)


@pytest.mark.parametrize('target', ['deepmim', 'dbot', 'mae', 'mmpretrain'])
def test_mask_tokens_of_the_encoder_are_not_lost(encoder, target):
    simmim = {
        **to_ours(encoder).state,
        'corruption.token': torch.zeros(1, 1, 48),
        'head.decoders.0.pred.weight': torch.zeros(768, 48),
        'head.decoders.0.pred.bias': torch.zeros(768),
    }
    assert describe(simmim).endswith('3 channels, linear decoder')
    with pytest.raises(ValueError, match=rf'{target} has no place for corruption\.tok'):
        convert(simmim, target)
    assert same(
        convert(simmim, target, backbone_only=True).state,
        convert(encoder, target).state,
    )


@pytest.mark.parametrize('name', ['blocks.0.gamma_3', 'patch_embed.norm.weight'])
def test_encoders_that_are_no_plain_vit_are_refused(deepmim, dbot, name):
    for source in (deepmim, dbot):
        with pytest.raises(ValueError, match=f'Not a plain ViT.*{name}'):
            to_ours({**source, name: torch.zeros(1)})


def test_unknown_names_are_listed(dbot):
    other = {**dbot, 'tlayernorm.weight': torch.zeros(48)}
    assert convert(other).dropped == ['tlayernorm.weight']
    with pytest.raises(ValueError, match='DeepMIM and dBOT'):
        recognise(['decoder_predp2.weight', 'encoder.0.weight'])
