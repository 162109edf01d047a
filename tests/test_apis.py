import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mim_zoo
from mim_zoo import apis, cli, extract_features, get_model, list_models, paths
from mim_zoo.conversion import convert
from mim_zoo.engine.loading import save_state_dict
from mim_zoo.models import MIM, Classifier, MIMViT, MixMIMViT

CONFIG = """
model = dict(
    type='MAE',
    backbone=dict(type='MIMViT', arch='micro', img_size=16, patch_size=4),
    corruption=dict(type='DropPatches'),
    data_preprocessor=dict(type='MIMDataPreprocessor', mean=[100.] * 3, std=[50.] * 3),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget'),
        decoder=dict(type='TransformerDecoder', embed_dim=32, depth=1, num_heads=2),
        loss=dict(type='MaskedMSE')))
"""


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / 'mae_micro.py'
    path.write_text(CONFIG)
    return path


def micro(**kwargs) -> MIMViT:
    return get_model('mim_vit_micro_patch4', img_size=16, **kwargs)


def with_prefix(encoder):
    return {f'backbone.{k}': v for k, v in encoder.state_dict().items()}


def test_every_listed_encoder_is_built():
    names = list_models('mim_vit_*')
    assert 'mim_vit_huge_patch14' in names
    for name in names:
        with torch.device('meta'):
            model = get_model(name)
        assert name == f'mim_vit_{name.split("_")[2]}_patch{model.stride}'
    assert list_models('*base_patch16') == ['mim_vit_base_patch16']


def test_every_listed_hierarchical_encoder_is_built():
    names = list_models('mim_mixmim_*')
    widths = {'base': 1024, 'large': 1536, 'huge': 2816}
    assert {f'mim_mixmim_{arch}' for arch in widths} <= set(names)
    for name in names:
        with torch.device('meta'):
            model = get_model(name)
        assert isinstance(model, MixMIMViT)
        arch = name.removeprefix('mim_mixmim_')
        assert model.embed_dim == widths.get(arch, model.embed_dim)


def test_listed_configs_exist():
    roots = Path(mim_zoo.__file__).parents[1] / 'configs'
    files = [f for f in roots.rglob('*.py') if '_base_' not in f.parts]
    assert set(list_models()) >= {f.stem for f in files}


def test_configs_are_found_as_the_tools_find_them(monkeypatch, tmp_path):
    package = tmp_path / 'mim_zoo'
    for root in (tmp_path / 'configs', package / '.mim' / 'configs'):
        (root / 'mae').mkdir(parents=True)
        (root / 'mae' / 'one.py').touch()
    monkeypatch.setattr(paths, 'PACKAGE', package)
    installed = package / '.mim' / 'configs' / 'mae' / 'one.py'
    checkout = tmp_path / 'configs' / 'mae' / 'one.py'
    for expected in (installed, checkout):  # somebody else's configs/, then ours
        for name in ('one', 'mae/one', 'mae/one.py', 'configs/mae/one'):
            assert apis._config_path(name) == cli.find_config(name) == expected
        (tmp_path / 'setup.py').touch()
    assert list_models('one') == ['one']


def test_unknown_names_say_what_is_known():
    with pytest.raises(ValueError, match='list_models'):
        get_model('resnet50')
    with pytest.raises(ValueError, match=r'patch_size, expected .*img_size, in_'):
        get_model('mim_mixmim_micro', patch_size=8)
    with pytest.raises(ValueError, match=r'patch_size, expected .*that the name does'):
        get_model('mim_vit_micro_patch4', patch_size=8)


def test_pretrained_encoder_in_foreign_names(tmp_path):
    source = micro()
    save_state_dict(source.state_dict(), tmp_path / 'timm.safetensors')
    whole = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    save_state_dict(whole, tmp_path / 'ours.pth')
    images = torch.randn(1, 3, 16, 16)
    for name in ('timm.safetensors', 'ours.pth'):
        model = micro(pretrained=tmp_path / name)
        assert not model.training
        assert torch.equal(model(images)[0], source(images)[0])


def test_pretrained_hierarchical_encoder_in_foreign_names(tmp_path):
    source = get_model('mim_mixmim_micro', img_size=32)
    whole = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    save_state_dict(source.state_dict(), tmp_path / 'mixmim.safetensors')
    save_state_dict(convert(whole, 'mmpretrain').state, tmp_path / 'mmpretrain.pth')
    images = torch.randn(1, 3, 32, 32)
    for name in ('mixmim.safetensors', 'mmpretrain.pth'):
        path = tmp_path / name
        model = get_model('mim_mixmim_micro', path, img_size=32)
        assert torch.equal(model(images)[0], source(images)[0])
        larger = get_model('mim_mixmim_micro', path, img_size=64, windows=(16, 16))
        (maps,) = larger(torch.randn(1, 3, 48, 64))
        assert maps.shape == (1, 96, 12, 16)
    assert extract_features(model, torch.rand(2, 3, 32, 32) * 255).shape == (2, 96)
    with pytest.raises(ValueError, match=r'min_share|other'):
        micro(pretrained=tmp_path / 'mmpretrain.pth')


@pytest.mark.parametrize('name', ['mim_vit_micro_patch4', 'mim_mixmim_micro'])
@pytest.mark.parametrize('target', ['ours', 'theirs'])
def test_the_encoder_of_a_fine_tuned_model_has_no_norm_of_its_own(
    tmp_path, name, target
):
    kind = dict(type='MixMIMViT' if 'mixmim' in name else 'MIMViT', arch='micro')
    size = dict(patch_size=4) if kind['type'] == 'MIMViT' else {}
    torch.manual_seed(0)
    source = Classifier(dict(**kind, **size, img_size=32), 3).eval()
    state = source.state_dict()
    if target == 'theirs':
        form = 'timm' if size else 'mixmim'
        state = convert(state, form, backbone_only=not size).state
    path = tmp_path / 'tuned.pth'
    save_state_dict(state, path)
    images = torch.rand(2, 3, 32, 32) * 255
    features = extract_features(get_model(name, path, img_size=32), images)
    assert torch.equal(features, extract_features(source.backbone, images))
    for norm in (False, True):
        made = dict(pretrained=path, img_size=32, final_norm=norm)
        if not norm:
            assert not list(get_model(name, **made).norm.parameters())
            continue
        with pytest.raises(ValueError, match=r'final_norm=True: got a file without'):
            get_model(name, **made)


def test_the_encoder_of_a_file_with_a_norm_has_one(tmp_path):
    source = micro()
    torch.nn.init.uniform_(source.norm.weight)
    save_state_dict(source.state_dict(), tmp_path / 'w.pth')
    for options in ({}, dict(final_norm=True)):
        model = micro(pretrained=tmp_path / 'w.pth', **options)
        assert torch.equal(model.norm.weight, source.norm.weight)


def test_an_encoder_has_a_class_token_if_its_file_has(tmp_path):
    path = tmp_path / 'w.pth'
    source = micro(class_token=False)
    save_state_dict(convert(with_prefix(source), 'timm').state, path)
    images = torch.rand(2, 3, 16, 16) * 255
    features = extract_features(micro(pretrained=path), images)
    assert torch.equal(features, extract_features(source, images))
    with pytest.raises(ValueError, match=r'class_token=True: got a file without'):
        micro(pretrained=path, class_token=True)
    encoder = dict(arch='micro', patch_size=4, img_size=16)
    for class_token in (True, False):
        init = dict(type='Pretrained', checkpoint=str(path))
        model = MIMViT(**encoder, class_token=class_token, init_cfg=init)
        if not class_token:
            model.init_weights()
            continue
        with pytest.raises(ValueError, match=r'got no cls_token .* stay random'):
            model.init_weights()


def test_a_file_without_one_block_is_refused(tmp_path):
    state = with_prefix(micro())
    lost = {k: v for k, v in state.items() if 'blocks.3.mlp.fc2' not in k}
    save_state_dict(lost, tmp_path / 'w.pth')
    with pytest.raises(ValueError, match=r'got no blocks\.3\.mlp\.fc2\.weight'):
        micro(pretrained=tmp_path / 'w.pth')


def test_a_checkpoint_alone_is_one_of_ours(tmp_path):
    path, source = tmp_path / 'w.pth', micro()
    save_state_dict(with_prefix(source), path)
    model = micro(init_cfg=dict(checkpoint=str(path)))
    model.init_weights()
    assert torch.equal(model.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)


def test_pretrained_positions_are_resampled(tmp_path):
    source = micro()
    save_state_dict(source.state_dict(), tmp_path / 'w.pth')
    model = get_model('mim_vit_micro_patch4', tmp_path / 'w.pth', img_size=(16, 32))
    assert model.pos_embed.shape == (1, 1 + 4 * 8, 96)
    file = source.pos_embed[0, 1:].view(4, 4, 96)
    here = model.pos_embed[0, 1:].view(4, 8, 96)
    rows = file[:, :1, 48:].expand(-1, 8, -1)  # this half does not know of columns
    torch.testing.assert_close(here[..., 48:], rows)
    assert torch.equal(model.pos_embed[0, 0], source.pos_embed[0, 0])


@pytest.mark.parametrize(
    'built',
    [
        MixMIMViT('micro', img_size=48, windows=(12, 12)),
        MIMViT('micro', img_size=48, patch_size=4, in_channels=5),
        MIMViT('micro', img_size=(16, 32), patch_size=4, class_token=False),
        MIMViT(
            *('micro', 32, 4),
            rel_pos='shared',
            absolute_pos=False,
            layer_scale=0.1,
        ),
    ],
)
def test_a_file_settles_what_the_name_leaves_open(tmp_path, built):
    kind = 'mixmim_micro' if isinstance(built, MixMIMViT) else 'vit_micro_patch4'
    save_state_dict(with_prefix(built), tmp_path / 'w.pth')
    found = get_model(f'mim_{kind}', tmp_path / 'w.pth')
    assert found.img_size == built.img_size
    images = torch.rand(1, built.in_channels, *built.img_size)
    assert torch.equal(found(images)[0], built.eval()(images)[0])


def test_learned_positions_of_wide_images_need_their_size(tmp_path):
    built = MIMViT('micro', img_size=(8, 28), patch_size=4, learned_pos=True)
    torch.nn.init.normal_(built.pos_embed)
    save_state_dict(with_prefix(built), tmp_path / 'w.pth')
    with pytest.raises(ValueError, match='img_size'):
        get_model('mim_vit_micro_patch4', tmp_path / 'w.pth')
    found = get_model('mim_vit_micro_patch4', tmp_path / 'w.pth', img_size=(8, 28))
    assert torch.equal(found.pos_embed, built.pos_embed)


def test_whole_models_from_a_config(tmp_path, config):
    model = get_model(config, backbone=dict(patch_size=8))
    assert isinstance(model, MIM)
    assert model.backbone.stride == 8
    save_state_dict(model.state_dict(), tmp_path / 'w.pth')
    again = get_model(config, tmp_path / 'w.pth', backbone=dict(patch_size=8))
    own = model.state_dict()
    assert all(torch.equal(v, own[k]) for k, v in again.state_dict().items())


def test_the_wrong_file_is_refused(tmp_path, config):
    save_state_dict(micro().state_dict(), tmp_path / 'encoder.pth')
    with pytest.raises(ValueError, match=r'min_share|other'):
        get_model('mim_vit_tiny_patch4', tmp_path / 'encoder.pth', img_size=16)


@pytest.mark.slow
def test_importing_the_package_is_cheap():
    code = "import sys, mim_zoo; print('torch' in sys.modules, mim_zoo.get_model)"
    said = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        cwd=Path(mim_zoo.__file__).parents[1],
    ).stdout
    assert said.startswith('False <function get_model')


@pytest.mark.parametrize('change', [dict(in_channels=1), dict(img_size=32)])
def test_weights_of_another_shape_are_refused(tmp_path, change):
    path = tmp_path / 'encoder.pth'
    torch.save(get_model('mim_vit_micro_patch4', img_size=16).state_dict(), path)
    name = 'mim_vit_micro_patch4' if 'in_channels' in change else 'mim_vit_micro_patch8'
    with pytest.raises(ValueError, match=r'patch_embed\.proj\.weight'):
        get_model(name, pretrained=path, **{'img_size': 16, **change})
