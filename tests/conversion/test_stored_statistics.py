"""Mean and std of the pixels stay with the weights that were trained on them."""

import pytest
import torch
from mmengine.config import Config

from mim_zoo import extract_features, get_model
from mim_zoo.conversion.stored import stored_statistics
from mim_zoo.engine.loading import read_checkpoint
from mim_zoo.models import MIMViT
from mim_zoo.models.units import IMAGENET_MEAN, IMAGENET_STD

MEAN, STD = [900.0, 1000.0], [300.0, 400.0]
SIZE = dict(arch='micro', img_size=16, patch_size=4, in_channels=2)


def config_of(**preprocessor) -> str:
    model = dict(type='MAE', backbone=SIZE)
    if preprocessor:
        model['data_preprocessor'] = dict(type='MIMDataPreprocessor', **preprocessor)
    return Config(dict(model=model)).pretty_text


def of_detector(**preprocessor) -> str:
    found = dict(type='mmdet.DetDataPreprocessor', mean=1, std=2, **preprocessor)
    return Config(dict(model=dict(data_preprocessor=found))).pretty_text


def as_trained(path, config: str) -> MIMViT:
    torch.manual_seed(0)
    encoder = MIMViT(**SIZE).eval()
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    torch.save({'state_dict': state, 'meta': {'cfg': config}}, path)
    return encoder


class Inside(torch.nn.Module):
    """A model of somebody else."""

    def __init__(self, encoder: MIMViT):
        super().__init__()
        self.backbone = encoder


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_features_use_the_statistics_of_the_file(tool, tmp_path, capsys, suffix):
    source, converted = tmp_path / 'epoch_1.pth', tmp_path / f'ours{suffix}'
    encoder = as_trained(source, config_of(mean=MEAN, std=STD))
    images = 2000 * torch.rand(2, 2, 16, 16)
    expected = extract_features(encoder, images, mean=MEAN, std=STD)
    tool.main([str(source), str(converted)])
    assert f'pixels:  mean {MEAN}, std {STD}\n' in capsys.readouterr().out
    for path in (source, converted):
        model = get_model('mim_vit_micro_patch4', path)
        assert torch.equal(extract_features(model, images), expected)
        assert torch.equal(extract_features(Inside(model), images), expected)
        given = extract_features(model, images, mean=1000, std=500)
        assert not torch.allclose(given, expected)


def test_a_chain_of_conversions_keeps_them(tool, tmp_path):
    names = 'epoch_1.pth', 'mae.pth', 'ours.safetensors', 'again.pth'
    paths = [str(tmp_path / name) for name in names]
    as_trained(paths[0], config_of(mean=MEAN, std=STD))
    tool.main([paths[0], paths[1], '--to', 'mae'])
    tool.main([paths[1], paths[2]])
    tool.main([paths[2], paths[3]])
    assert stored_statistics(paths[3], read_checkpoint(paths[3])) == (MEAN, STD)


@pytest.mark.parametrize(
    ('config', 'found'),
    [
        (config_of(), None),
        (config_of(mean=MEAN, std=STD), (MEAN, STD)),
        (config_of(mean=(127.5,), std=50), ([127.5], [50.0])),
        (config_of(mean=120), ([120.0], list(IMAGENET_STD))),
        (config_of(std=50), (list(IMAGENET_MEAN), [50.0])),
        (config_of(batch_transforms=[dict(type='RandomMasking')]), None),
        (of_detector(bgr_to_rgb=True), ([1.0], [2.0])),
        (of_detector(), None),
        ("model = dict(data_preprocessor=dict(mean='grey', std=1))", None),
        ('model = dict(data_preprocessor=dict(mean=[f()], std=[1]))', None),
        ('model = dict(data_preprocessor=None)', None),
        ('model = 3', None),
        ('model = dict(x={[1]: 2})', None),
        ('model = <a module>', None),
        ('raise SystemExit', None),  # is not run
        (None, None),
    ],
)
def test_configs_are_read_not_run(tmp_path, config, found):
    checkpoint = {'state_dict': {}, 'meta': {'cfg': config}}
    assert stored_statistics(tmp_path / 'epoch_1.pth', checkpoint) == found


def test_files_that_say_nothing(tmp_path):
    for meta in ({}, {'epoch': 3}, {'mean': 'x', 'std': '[1.0]'}, None):
        checkpoint = {'state_dict': {}, 'meta': meta}
        assert stored_statistics(tmp_path / 'w.pth', checkpoint) is None
    assert get_model('mim_vit_micro_patch4').statistics is None


def test_a_model_of_other_statistics_does_not_take_the_weights(tmp_path):
    path, config = tmp_path / 'epoch_1.pth', tmp_path / 'extractor.py'
    encoder = as_trained(path, config_of(mean=MEAN, std=STD))
    config.write_text(
        f"model = dict(type='FeatureExtractor', backbone=dict(type='MIMViT', **{SIZE}),"
        " data_preprocessor=dict(type='MIMDataPreprocessor', mean=900.0, std=300.0))"
    )
    with pytest.raises(ValueError, match=r'got weights .*mean \[900.0, 1000.0\].*pass'):
        get_model(config, path)
    model = get_model(config, path, data_preprocessor=dict(mean=MEAN, std=STD))
    images = 2000 * torch.rand(2, 2, 16, 16)
    expected = extract_features(encoder, images, mean=MEAN, std=STD)
    assert torch.equal(extract_features(model, images), expected)
