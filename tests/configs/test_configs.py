import math
import re

import pytest
import torch
import torch.distributed as dist
from config_files import CONFIGS, dicts, name_of
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from tiny import ALL, ENCODERS, OneEpoch, make_data, pretrained, tiny

from mim_zoo.engine.runner import ZooRunner
from mim_zoo.registry import MODELS

each = pytest.mark.parametrize('path', ALL, ids=name_of)

# Facts that flow downhill; a config that repeats one can contradict it.
HANDED_DOWN = {'channels', 'out_channels', 'stride', 'grid', 'levels', 'prefix_tokens'}


class Metrics(Hook):
    priority = 'LOWEST'
    values: dict

    def after_val_epoch(self, runner, metrics=None):
        self.values = dict(metrics)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return pretrained(tmp_path_factory.mktemp('weights'))


@pytest.fixture
def shrunk(data_root, weights, tmp_path_factory):
    def load(path):
        folder = tmp_path_factory.mktemp('run')
        return tiny(Config.fromfile(path), data_root, weights, folder)

    return load


def test_there_are_configs():
    assert len(ALL) > 25


@each
def test_opens_with_a_command_that_names_it(path):
    head = re.match(r'(#.*\n)+', path.read_text())
    assert head, 'a leaf opens with a comment'
    lines = head.group().replace('\\\n#', '')
    assert re.search(rf'tools/\w+\.(py|sh)\s+configs/{name_of(path)}\.py', lines)
    assert re.search(r'[Hh]ardware|[Hh]ours|cores', lines)


@each
def test_dumps_and_reloads_equal(path, tmp_path):
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py')._cfg_dict == cfg._cfg_dict


@each
def test_holds_decisions_not_facts(path):
    for node in dicts(Config.fromfile(path).model):
        assert not HANDED_DOWN & node.keys()
        assert 'in_channels' not in node or node['type'] in ENCODERS


@each
def test_builds_at_full_size(path):
    init_default_scope('mim_zoo')
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(path).model)
    assert any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    'path', [p for p in ALL if 'train_cfg' in Config.fromfile(p)], ids=name_of
)
def test_trains_and_evaluates(path, shrunk):
    cfg = shrunk(path)
    runner = ZooRunner.from_cfg(cfg)
    stop, metrics = OneEpoch(), Metrics()
    runner.register_hook(stop)
    runner.register_hook(metrics)
    runner.train()
    assert len(stop.losses) >= 2
    assert all(map(math.isfinite, stop.losses))
    wanted = 'accuracy/top1' if cfg.model.type == 'Classifier' else 'explained_share'
    assert math.isfinite(metrics.values[wanted])
    if 'KNNHook' in str(cfg.get('custom_hooks')):
        assert 0 <= metrics.values['knn_top1'] <= 1
    length = len(runner.train_dataloader)
    last = max(s.end if s.by_epoch else s.end / length for s in runner.param_schedulers)
    assert last == runner.max_epochs == Config.fromfile(path).train_cfg.max_epochs
    starts = sorted(s.begin for s in runner.param_schedulers)
    assert [s.end for s in runner.param_schedulers][:-1] == starts[1:], 'no gap'


@pytest.mark.parametrize('epochs', [800, 1600])
def test_one_value_is_the_length_of_pretraining(epochs, shrunk):
    path = next(p for p in ALL if 'mae_vit-base-p16_8xb512-amp-coslr-1600e' in p.name)
    cfg = shrunk(path)
    cfg.merge_from_dict({'train_cfg.max_epochs': epochs})
    _, schedulers = schedule_of(cfg)
    assert schedulers[-1].end == schedulers[-1].T_max + schedulers[-1].begin
    assert schedulers[-1].end == epochs * 2


def schedule_of(cfg):
    """Parameter groups by learning rate, and schedulers, as a run would make them."""
    runner = ZooRunner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    return runner.optim_wrapper.optimizer.param_groups, schedulers


FINETUNE = [  # name, epochs, depth, lr, layer decay (2111.06377, official command)
    ('vit-base-p16_8xb128-amp-coslr-100e_in1k', 100, 12, 2e-3, 0.65),
    ('vit-large-p16_8xb128-amp-coslr-50e_in1k', 50, 24, 4e-3, 0.75),
    ('vit-huge-p14_8xb128-amp-coslr-50e_in1k', 50, 32, 4e-3, 0.75),
    ('vit-small-p16_8xb128-amp-coslr-100e_in1k', 100, 12, 2e-3, 0.65),  # as B
    ('mixmim-base-w14_8xb128-amp-coslr-100e_in1k', 100, 24, 2e-3, 0.7),  # 2205.13137
]


@pytest.mark.parametrize(('name', 'epochs', 'depth', 'lr', 'decay'), FINETUNE)
def test_fine_tuning_rates_are_the_official_ones(
    name, epochs, depth, lr, decay, shrunk
):
    cfg = shrunk(next(p for p in ALL if p.stem == name))
    arch = cfg.model.backbone.arch
    if 'depths' in arch:
        arch.depths = (1, depth - 1)
    else:
        arch.depth = depth
    length = 100
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=length // 2, dataset=cfg.train_dataloader.dataset
    )
    groups, schedulers = schedule_of(cfg)

    def official(epoch):
        if epoch < 5:
            return lr * epoch / 5
        progress = (epoch - 5) / (epochs - 5)
        return 1e-6 + (lr - 1e-6) * 0.5 * (1 + math.cos(math.pi * progress))

    rates = {0: [g['lr'] for g in groups]}
    for step in range(1, epochs * length + 1):
        for scheduler in schedulers:
            scheduler.step()
        rates[step] = [g['lr'] for g in groups]
    for epoch in (2.5, 5, 10, epochs / 2, epochs - 1):
        shallow, *_, top = sorted(rates[int(epoch * length)])
        assert top == pytest.approx(official(epoch), rel=0.02)
        assert shallow == pytest.approx(
            official(epoch) * decay ** (depth + 1), rel=0.02
        )
    shallow, *_, top = sorted(rates[epochs * length])
    assert top == pytest.approx(1e-6, rel=1e-3)  # not one floor for all layers
    assert shallow == pytest.approx(1e-6 * decay ** (depth + 1), rel=1e-3)


def test_positions_are_not_decayed_in_fine_tuning(shrunk):
    cfg = shrunk(next(p for p in ALL if p.stem == FINETUNE[0][0]))
    groups, _ = schedule_of(cfg)
    decayed = [p for g in groups if g['weight_decay'] > 0 for p in g['params']]
    free = [p for g in groups if g['weight_decay'] == 0 for p in g['params']]
    assert all(p.ndim > 1 for p in decayed)
    assert sorted(p.shape for p in free if p.ndim > 1) == [(1, 1, 16), (1, 17, 16)]


def test_linear_probe_scales_to_the_accumulated_batch(shrunk):
    path = next(p for p in ALL if 'vit-base' in p.stem and 'linear' in p.stem)
    cfg = shrunk(path)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.1 * 16384 / 256)
    cfg.auto_scale_lr.enable = True
    groups, _ = schedule_of(cfg)
    batch = 4 * cfg.optim_wrapper.accumulative_counts
    assert groups[0]['initial_lr'] == pytest.approx(6.4 * batch / 16384)
    assert sum(p.numel() for g in groups for p in g['params']) == 17 * 1000


@pytest.mark.parametrize('path', [p for p in ALL if 'linear' in p.name], ids=name_of)
def test_linear_probes_share_batch_norm_statistics(path, shrunk, tmp_path, monkeypatch):
    cfg = shrunk(path)
    runner = ZooRunner.from_cfg(cfg)
    runner._distributed = True  # as under a launcher
    monkeypatch.setenv('LOCAL_RANK', '0')
    store = dist.FileStore(str(tmp_path / 'store'), 1)
    dist.init_process_group('gloo', store=store, rank=0, world_size=1)
    try:
        wrapped = runner.wrap_model(cfg.model_wrapper_cfg, runner.model)
        assert wrapped.broadcast_buffers
        assert {'module.bn.running_mean'} <= dict(wrapped.named_buffers()).keys()
    finally:
        dist.destroy_process_group()


def test_pretraining_on_labelled_data_tells_whether_it_learns():
    for path in ALL:
        cfg = Config.fromfile(path)
        if 'corruption' in cfg.model and 'folder' not in path.parts:
            assert 'KNNHook' in [hook.type for hook in cfg.custom_hooks], path


def test_a_kill_costs_five_epochs_of_imagenet_at_most():
    for path in ALL:
        cfg = Config.fromfile(path)
        if 'corruption' in cfg.model and 'in1k' in path.stem:
            assert cfg.default_hooks.checkpoint.interval <= 5, path
            assert cfg.default_hooks.checkpoint.max_keep_ckpts == 3, path


@pytest.mark.parametrize('percent', [1, 10])
@pytest.mark.parametrize('name', [name for name, *_ in FINETUNE])
def test_few_shot_is_fine_tuning_on_a_list(name, percent):
    whole = Config.fromfile(CONFIGS / f'imagenet/{name}.py')
    few = Config.fromfile(CONFIGS / f'imagenet/{name}-{percent}percent.py')
    listed = few.train_dataloader.dataset.pop('list_file')
    assert listed == f'{{data_root}}/meta/train_{percent}percent.txt'
    assert few._cfg_dict == whole._cfg_dict


def test_digits_start_from_where_the_photos_end():
    digits = next(p for p in ALL if 'finetune_digits' in p.name)
    named = Config.fromfile(digits).model.backbone.init_cfg.checkpoint
    photos = next(p for p in ALL if p.stem == named.split('/')[1])
    epochs = Config.fromfile(photos).train_cfg.max_epochs
    assert named.endswith(f'/epoch_{epochs}.pth')


@pytest.mark.parametrize('path', [p for p in ALL if 'cifar10' in p.parts], ids=name_of)
def test_cifar_starts_from_where_its_pretraining_ends(path):
    init = Config.fromfile(path).model.backbone.get('init_cfg')
    if init:
        _, run, file = init.checkpoint.split('/')
        pretraining = Config.fromfile(path.with_name(f'{run}.py'))
        assert file == f'epoch_{pretraining.train_cfg.max_epochs}.pth'
