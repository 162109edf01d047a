"""What of a classifier's pooling files say, and what becomes of it in other formats."""

import pytest
import timm
import torch
from mmengine.config import Config
from safetensors.torch import load_file

from mim_zoo.conversion import convert, from_ours
from mim_zoo.conversion.shapes import timm_call
from mim_zoo.conversion.stored import stored_pool
from mim_zoo.engine.loading import read_checkpoint, save_state_dict
from mim_zoo.models import Classifier, MixMIMViT
from mim_zoo.paths import shipped_config

ARCH = dict(embed_dim=48, depth=2, num_heads=4)
BACKBONE = dict(type='MIMViT', arch=ARCH, img_size=32, patch_size=8)
PROBES = [
    'cifar10/vit-micro-p4_1xb128-linear-coslr-10e_cifar10',
    'imagenet/vit-base-p16_8xb512-linear-amp-coslr-90e_in1k',
]
POOLINGS = [
    (pool, norm) for pool in ('avg', 'cls') for norm in ('layer', 'batch', None)
]


def classifier(pool: str, head_norm: str | None, **backbone) -> Classifier:
    """In evaluation mode, with weights and statistics that are not the initial ones."""
    torch.manual_seed(0)
    model = Classifier({**BACKBONE, **backbone}, 5, pool, head_norm, head_init_std=1.0)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value) * 0.1)
    return model.eval()


def as_trained(model: Classifier, path, config: str, **meta) -> None:
    """As MMEngine writes it, with the text of the config."""
    torch.save(
        {'state_dict': model.state_dict(), 'meta': {'cfg': config, **meta}}, path
    )


def config_of(**model) -> str:
    """As ``Config.pretty_text`` gives it, keys in alphabetical order."""
    cfg = dict(work_dir='x', model=dict(type='Classifier', backbone=BACKBONE, **model))
    return Config(cfg).pretty_text


def exported(tool, src, dst, capsys, *options: str) -> torch.nn.Module:
    """What the call that the tool prints builds."""
    tool.main([str(src), str(dst), '--to', 'timm', '--num-heads', '4', *options])
    said = capsys.readouterr().out
    line = next(x for x in said.splitlines() if x.startswith('timm.create_model'))
    return eval(line, {'timm': timm}).eval()


@pytest.mark.parametrize(('pool', 'head_norm'), POOLINGS)
def test_timm_scores_images_as_the_trained_classifier(
    tool, tmp_path, capsys, pool, head_norm
):
    model = classifier(pool, head_norm)
    src = tmp_path / 'epoch_1.pth'
    as_trained(model, src, config_of(pool=pool, head_norm=head_norm))
    theirs = exported(tool, src, tmp_path / 'timm.pth', capsys)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(theirs(images), model(images), atol=1e-4, rtol=1e-4)


def test_the_pooling_of_shipped_probes_is_read(tmp_path):
    pools = []
    for name in PROBES:
        cfg = Config.fromfile(shipped_config(name))
        pools.append(cfg.model.pool)
        path = tmp_path / 'epoch_1.pth'
        as_trained(classifier('avg', None), path, cfg.pretty_text)
        assert stored_pool(path, read_checkpoint(path)) == cfg.model.pool
    assert pools == ['avg', 'cls']


@pytest.mark.parametrize(
    ('config', 'pool'),
    [
        (config_of(), 'avg'),  # the default
        (config_of(pool='cls', backbone_pool='avg'), 'cls'),
        ("model = dict(type='mim_zoo.Classifier', head=dict(pool='cls'))", 'avg'),
        ("model = dict(type='Mine', pool='cls')", 'cls'),
        ("model = dict(type='Mine')", None),
        ("model = dict(type='MAE')\nother = dict(pool='cls')", None),
        ("model = dict(type='Classifier', pool='max')", None),
        ('model = <a module>', None),
        ('raise SystemExit', None),  # is not run
    ],
)
def test_configs_are_read_not_run(tmp_path, config, pool):
    checkpoint = {'state_dict': {}, 'meta': {'cfg': config}}
    assert stored_pool(tmp_path / 'epoch_1.pth', checkpoint) == pool


@pytest.mark.parametrize('target', ['timm', 'mae', 'dbot', 'mmpretrain'])
@pytest.mark.parametrize('head_norm', ['batch', None])
def test_weights_alone_do_not_tell(target, head_norm):
    state = classifier('avg', head_norm).state_dict()
    with pytest.raises(ValueError, match=r'do not tell.*--pool cls or --pool avg'):
        from_ours(state, target)
    alone = convert(state, target, backbone_only=True)
    assert alone.pool is None
    assert from_ours(state, 'ours').pool is None


def test_the_call_of_timm_needs_it_too():
    state = classifier('avg', None).state_dict()
    with pytest.raises(ValueError, match='--pool'):
        timm_call(state, 4)
    assert {'global_pool', 'fc_norm'}.isdisjoint(timm_call(state, 4, 'cls')[1])
    options = timm_call(state, 4, 'avg')[1]
    assert (options['global_pool'], options['fc_norm']) == ('avg', False)


@pytest.mark.parametrize('target', ['mae', 'deepmim', 'dbot', 'mmpretrain'])
@pytest.mark.parametrize(('pool', 'head_norm'), POOLINGS)
def test_official_codes_have_the_mean_with_its_norm_only(target, pool, head_norm):
    state = classifier(pool, head_norm).state_dict()
    if (pool == 'avg') == (head_norm == 'layer'):
        assert from_ours(state, target, pool).pool == pool
        return
    with pytest.raises(
        ValueError,
        match=rf"{target} has no place for a classifier with pool='{pool}' with.*timm",
    ):
        from_ours(state, target, pool)


def test_official_files_take_the_class_token_unless_they_have_a_norm(
    fine_tuned, probe, encoder
):
    assert convert(fine_tuned).pool == 'avg'
    assert convert(probe).pool == convert(convert(probe, 'mmpretrain').state).pool
    assert convert(probe, 'timm').pool == convert(probe).pool == 'cls'
    assert convert(encoder).pool is None
    # timm's global_pool='avg', fc_norm=False
    own = convert(probe, 'timm').state
    assert convert(own, 'timm', pool='avg').pool == 'avg'
    with pytest.raises(ValueError, match='mmpretrain has no place'):
        convert(own, 'mmpretrain', pool='avg')


def test_without_a_class_token_it_is_the_mean():
    state = classifier('avg', 'batch', class_token=False).state_dict()
    assert from_ours(state, 'timm').pool == 'avg'
    mixmim = {
        f'backbone.{k}': v for k, v in MixMIMViT('micro', 32).state_dict().items()
    }
    mixmim['head.weight'], mixmim['head.bias'] = torch.zeros(5, 96), torch.zeros(5)
    assert from_ours(mixmim, 'mmpretrain').pool == 'avg'
    for source in (state, mixmim):
        with pytest.raises(ValueError, match='has no class token'):
            convert(source, pool='cls')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_what_was_said_once_stays_with_the_file(tool, tmp_path, capsys, suffix):
    model = classifier('avg', 'batch')
    first, ours, back = (tmp_path / f'{name}{suffix}' for name in 'abc')
    save_state_dict(model.state_dict(), first)
    with pytest.raises(ValueError, match='--pool cls or --pool avg'):
        tool.main([str(first), str(ours), '--to', 'timm', '--num-heads', '4'])
    assert not ours.exists()
    tool.main([str(first), str(ours), '--pool', 'avg'])
    assert 'pooling: avg\n' in capsys.readouterr().out
    theirs = exported(tool, ours, tmp_path / f'timm{suffix}', capsys)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(theirs(images), model(images), atol=1e-4, rtol=1e-4)
    tool.main([str(tmp_path / f'timm{suffix}'), str(back)])
    assert stored_pool(back, read_checkpoint(back)) == 'avg'


def test_an_option_that_cannot_be_is_refused(tool, tmp_path):
    src, dst = tmp_path / 'epoch_1.pth', tmp_path / 'out.safetensors'
    as_trained(classifier('avg', 'batch'), src, config_of(pool='avg'))
    with pytest.raises(ValueError, match=r"--pool cls: .*says.*pool='avg'; leave"):
        tool.main([str(src), str(dst), '--pool', 'cls'])
    with pytest.raises(ValueError, match='--pool: no classifier is kept'):
        tool.main([str(src), str(dst), '--pool', 'avg', '--backbone-only'])
    assert [p.name for p in tmp_path.iterdir()] == ['epoch_1.pth']
    tool.main([str(src), str(dst), '--pool', 'avg'])
    assert 'head.weight' in load_file(dst)
