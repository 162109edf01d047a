"""What the configs of DeepMIM (2303.08817), dBOT (2209.03917) and their kin say."""

import pytest
import torch
from config_files import CONFIGS, name_of
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny import ALL, make_data, pretrained, tiny, with_options

from mim_zoo.engine import LayerDecayConstructor
from mim_zoo.engine.runner import ZooRunner
from mim_zoo.models.targets import Frozen
from mim_zoo.registry import MODELS

DEEPMIM = 'deepmim/deepmim-clip_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py'
DBOT = 'dbot/dbot_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py'
TEACHING = [
    p
    for p in ALL
    if any(
        w in str(Config.fromfile(p).model) for w in ('TeacherTarget', 'HybridTarget')
    )
]
STAGED = [p for p in ALL if 'staging' in Config.fromfile(p).default_hooks]


def load(name):
    return Config.fromfile(CONFIGS / name)


def build(cfg):
    init_default_scope('mim_zoo')
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('path', STAGED, ids=name_of)
def test_rates_and_teachers_have_the_same_stages(path):
    cfg = Config.fromfile(path)
    hook = cfg.default_hooks.staging
    if hook.type == 'BootstrapHook':
        (schedule,) = cfg.param_scheduler
        assert schedule.boundaries == hook.boundaries
        assert max(hook.boundaries) < cfg.train_cfg.max_epochs
    else:
        assert hook.type == 'MomentumTeacherHook'


def test_deepmim_is_as_released():
    cfg = load(DEEPMIM)
    model = build(cfg)
    assert model.neck.taps == [5, 7, 9, 11]
    encoder, decoders = count(model.backbone), list(model.head.decoders)
    assert encoder == 85_798_656
    positions = decoders[0].pos_embed.numel()
    assert [count(d) - positions for d in decoders] == [13_267_456] * 4
    assert decoders[0].pred.out_features == model.head.target.dim == 512
    teacher = model.head.target.teacher
    assert not teacher.saved and not teacher.loaded, 'read when training starts'
    assert teacher.mean.device.type == 'meta'
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.5e-4 * 4096 / 256)
    assert 'clip_grad' not in cfg.optim_wrapper


def test_hybrids_are_as_published():
    cfg = load('deepmim/deepmim-hybrid_vit-base-p16_8xb512-amp-coslr-300e_in1k.py')
    target = build(cfg).head.target
    assert target.alphas == pytest.approx([0, 1 / 3, 2 / 3, 1])
    mae = load('mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py')
    del mae.model['data_preprocessor'], mae.model['neck']
    assert cfg.model.head.target.generator == mae.model
    assert mae.train_cfg.max_epochs == 800
    assert cfg.model.head.target.checkpoint.endswith('-800e_in1k/epoch_800.pth')


@pytest.mark.parametrize(
    ('name', 'sizes', 'rate', 'clip', 'first'),
    [  # official encoder and decoder, positions of the decoder beside them
        ('base-p16', (85_798_656, 26_008_320, 100_864), 0.2, 3.0, 'student'),
        ('large-p16', (303_301_632, 26_270_720, 100_864), 0.2, None, 'stem'),
        ('huge-p14', (630_764_800, 26_533_120, 131_584), 0.3, None, 'stem'),
    ],
)
def test_dbot_is_as_published(name, sizes, rate, clip, first):
    cfg = load(DBOT.replace('base-p16', name))
    model = build(cfg)
    (decoder,) = model.head.decoders
    places = decoder.pos_embed.numel()
    assert (count(model.backbone), count(decoder) - places, places) == sizes
    for blocks in (model.backbone.blocks, decoder.blocks):
        assert blocks[-1].drop_path.rate == pytest.approx(rate)
    teacher = model.head.target.teacher.encoder
    assert count(teacher) == count(model.backbone)
    assert {block.drop_path.rate for block in teacher.blocks} == {0.0}
    assert cfg.optim_wrapper.get('clip_grad', {}).get('max_norm') == clip
    assert cfg.default_hooks.staging.get('first', 'student') == first
    assert not model.head.target.norm
    assert cfg.param_scheduler[0].warmup == 40


def test_a_shorter_run_takes_four_values(tmp_path):
    words = [
        'train_cfg.max_epochs=2',
        'param_scheduler.0.boundaries=[1]',
        'param_scheduler.0.warmup=0',
        'default_hooks.staging.boundaries=[1]',
    ]
    cfg = with_options(CONFIGS / DBOT, words)
    data, weights = make_data(tmp_path / 'data'), tmp_path / 'weights'
    weights.mkdir()
    run = tmp_path / 'run'
    run.mkdir()
    runner = ZooRunner.from_cfg(tiny(cfg, data, pretrained(weights), run))
    runner.train()
    saved = torch.load(run / 'epoch_2.pth', weights_only=False)
    assert saved['bootstrap'] == dict(stage=1)
    teacher = 'head.target.teacher.encoder.blocks.0.attn.qkv.weight'
    assert not torch.equal(
        saved['state_dict'][teacher],
        saved['state_dict']['backbone.blocks.0.attn.qkv.weight'],
    )


def test_maskfeat_decays_all_but_the_token_and_vectors():
    name = 'maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py'
    cfg = load(name)
    model = build(cfg)
    rules = dict(cfg.optim_wrapper.paramwise_cfg)
    groups = LayerDecayConstructor(cfg.optim_wrapper, rules).param_groups(model)
    free = [p for g in groups if g.get('weight_decay') == 0 for p in g['params']]
    assert [p for p in free if p.ndim > 1] == [model.corruption.token]
    mask = model.data_preprocessor.masking.sample(torch.arange(3), (14, 14))
    assert mask.sum(1).tolist() == [78] * 3
    assert model.head.decoders[0].pred.out_features == 108


def test_data2vec_hides_120_patches():
    name = 'data2vec/data2vec_vit-base-p16_8xb256-amp-coslr-800e_in1k.py'
    model = build(load(name))
    mask = model.data_preprocessor.masking.sample(torch.arange(3), (14, 14))
    assert mask.sum(1).tolist() == [120] * 3
    assert model.head.target.layers == [6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize('kind', ['deepmim', 'dbot'])
def test_small_runs_see_as_many_images_as_mae(kind):
    for path in ALL:
        if path.stem.startswith(f'{kind}_vit-') and 'in1k' not in path.stem:
            mae = path.with_name(path.name.replace(f'{kind}_', 'mae_'))
            cfg = Config.fromfile(path)
            if mae.is_file():
                usual = Config.fromfile(mae)
                assert cfg.train_cfg.max_epochs == usual.train_cfg.max_epochs
                assert cfg.train_dataloader == usual.train_dataloader
            else:  # two stages of MAE's length
                assert path.stem.startswith('dbot_vit-micro')


def test_every_teacher_is_read_late():
    assert len(TEACHING) >= 10
    for path in TEACHING:
        model = build(Config.fromfile(path))
        frozen = [m for m in model.modules() if isinstance(m, Frozen)]
        assert not any(p.requires_grad for m in frozen for p in m.parameters())
        assert all(p.is_meta for p in model.parameters()), path
