import pytest
import torch

from mim_zoo.conversion import convert
from mim_zoo.conversion.shapes import (
    build_encoder,
    compare_with_timm,
    encoder_arguments,
    timm_call,
)
from mim_zoo.engine.loading import load_weights, save_state_dict
from mim_zoo.models import MIMViT


def with_prefix(encoder: MIMViT) -> dict[str, torch.Tensor]:
    return {f'backbone.{k}': v for k, v in encoder.state_dict().items()}


@pytest.mark.parametrize(
    ('arch', 'patch', 'name', 'extra'),
    [
        ('small', 16, 'vit_small_patch16_224', {}),
        ('base', 16, 'vit_base_patch16_224', {}),
        ('large', 16, 'vit_large_patch16_224', {}),
        ('huge', 14, 'vit_huge_patch14_224', {}),
        ('base', 8, 'vit_base_patch16_224', {'patch_size': 8, 'embed_dim': 768}),
        ('micro', 16, 'vit_base_patch16_224', {'embed_dim': 96, 'depth': 6}),
    ],
)
def test_architectures_are_told_by_their_shapes(arch, patch, name, extra):
    with torch.device('meta'):
        state = with_prefix(MIMViT(arch, img_size=224, patch_size=patch))
    found = encoder_arguments(state)
    assert found['arch'] == arch
    assert (found['img_size'], found['patch_size']) == (224, patch)
    called, options = timm_call(state)
    assert called == name
    assert extra.items() <= options.items()
    if not extra:
        assert options == {'num_classes': 0}


def test_sizes_channels_and_tokens_are_inferred():
    made = dict(
        arch=dict(embed_dim=48, depth=2, num_heads=6, mlp_ratio=2.0),
        img_size=24,
        patch_size=8,
        in_channels=4,
        class_token=False,
        final_norm=False,
    )
    assert encoder_arguments(with_prefix(MIMViT(**made)), num_heads=6) == made


@pytest.mark.parametrize('tuned', [False, True])
def test_images_that_are_not_square_are_told_by_their_positions(tmp_path, tuned):
    """Also where the number of patches is a square number, and after fine-tuning."""
    made = MIMViT('micro', img_size=(16, 64), patch_size=4)
    if tuned:
        made.pos_embed.data += 0.1 * torch.randn_like(made.pos_embed)
    state = with_prefix(made)
    assert encoder_arguments(state)['img_size'] == (16, 64)
    _, options = timm_call(state)
    assert options['img_size'] == (16, 64)
    save_state_dict(convert(state, 'timm').state, tmp_path / 'timm.pth')
    assert compare_with_timm(state, tmp_path / 'timm.pth') < 1e-4
    torch.nn.init.normal_(made.pos_embed, std=0.02)  # learned: nothing tells
    assert encoder_arguments(with_prefix(made))['img_size'] == 32


def test_unknown_widths_need_the_number_of_heads(encoder):
    with pytest.raises(ValueError, match=r'Width 48.*--num-heads'):
        encoder_arguments(convert(encoder).state)


@pytest.mark.parametrize(
    'arch',
    [
        dict(embed_dim=768, depth=8, num_heads=8, mlp_ratio=3.0),  # mmpretrain's small
        dict(embed_dim=768, depth=8, num_heads=8),
        dict(embed_dim=192, depth=12, num_heads=12, mlp_ratio=2.0),
    ],
)
def test_a_known_width_alone_does_not_tell_the_heads(arch):
    with torch.device('meta'):
        state = with_prefix(MIMViT(arch, img_size=32))
    with pytest.raises(ValueError, match=r'Width .*depth .*ratio .*--num-heads'):
        encoder_arguments(state)
    with pytest.raises(ValueError, match='--num-heads'):
        timm_call(state)
    assert encoder_arguments(state, arch['num_heads'])['arch'] == arch
    options = timm_call(state, arch['num_heads'])[1]
    assert arch.items() <= options.items()


def test_other_heads_than_those_of_a_known_architecture():
    with torch.device('meta'):
        state = with_prefix(MIMViT('tiny', img_size=32))
    assert encoder_arguments(state, 3)['arch'] == 'tiny'
    other = dict(embed_dim=192, depth=12, num_heads=12)
    assert encoder_arguments(state, 12)['arch'] == other


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('kind', ['encoder', 'fine_tuned', 'probe'])
def test_timm_computes_the_same(request, tmp_path, kind, suffix):
    source = request.getfixturevalue(kind)
    path = tmp_path / f'timm{suffix}'
    save_state_dict(convert(source, 'timm').state, path)
    ours = convert(source)
    assert compare_with_timm(ours.state, path, num_heads=4, pool=ours.pool) < 1e-5


@pytest.mark.parametrize(
    'options',
    [
        dict(arch='small', img_size=64),
        dict(arch='micro', img_size=32, patch_size=4, in_channels=1),
        dict(arch='micro', img_size=32, patch_size=8, class_token=False),
    ],
)
def test_timm_computes_the_same_at_other_sizes(tmp_path, options):
    state = with_prefix(MIMViT(**options))
    save_state_dict(convert(state, 'timm').state, tmp_path / 'timm.pth')
    assert compare_with_timm(state, tmp_path / 'timm.pth') < 1e-5


@pytest.mark.parametrize('prefix', [True, False])
def test_timm_computes_the_same_without_a_final_norm(tmp_path, prefix):
    made = dict(arch='micro', img_size=32, class_token=prefix, final_norm=False)
    state = with_prefix(MIMViT(**made))
    assert timm_call(state)[1]['final_norm'] is False
    save_state_dict(convert(state, 'timm').state, tmp_path / 'timm.pth')
    assert compare_with_timm(state, tmp_path / 'timm.pth') < 1e-5


def test_an_old_timm_has_no_encoder_without_a_final_norm(monkeypatch, fine_tuned):
    class Old:
        def __init__(self, fc_norm: bool | None = None): ...

    monkeypatch.setattr('timm.models.vision_transformer.VisionTransformer', Old)
    tuned = convert(fine_tuned).state
    assert timm_call(tuned, 4)[1]['global_pool'] == 'avg'
    alone = convert(fine_tuned, backbone_only=True).state
    with pytest.raises(ValueError, match=r'^timm .*final_norm=False.*pip install'):
        timm_call(alone, 4)


def test_the_comparison_sees_a_difference(tmp_path, fine_tuned):
    for name in ('blocks.2.attn.qkv.weight', 'head.bias'):
        changed = {**fine_tuned, name: fine_tuned[name] + 0.1}
        save_state_dict(changed, tmp_path / 'timm.pth')
        ours = convert(fine_tuned).state
        assert compare_with_timm(ours, tmp_path / 'timm.pth', num_heads=4) > 1e-3


def test_the_encoder_of_a_file_is_built_whole(mae):
    encoder = build_encoder(convert(mae).state, num_heads=4)
    assert torch.equal(encoder.blocks[3].mlp.fc2.weight, mae['blocks.3.mlp.fc2.weight'])
    assert torch.equal(encoder.pos_embed, mae['pos_embed'])


def test_other_grids_than_squares_are_refused_if_nothing_tells_them():
    made = dict(arch=dict(embed_dim=12, depth=1, num_heads=2), img_size=(64, 128))
    encoder = MIMViT(**made)
    torch.nn.init.normal_(encoder.pos_embed, std=0.02)
    state = with_prefix(encoder)
    with pytest.raises(
        ValueError, match=r'got 32 learned positions.*expected a square.*img_size='
    ):
        encoder_arguments(state, num_heads=2)
    again = MIMViT(**made)
    load_weights(again, convert(state).state, prefix='backbone.', min_share=1.0)
    assert torch.equal(again.pos_embed, state['backbone.pos_embed'])
