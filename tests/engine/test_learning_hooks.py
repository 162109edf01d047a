"""The learning hooks in a real run: metrics, table, pictures, resume."""

import copy
import json
import time

import pytest
import torch
from mmengine.hooks import Hook
from photos_run import run, small_cfg
from PIL import Image

from mim_zoo.engine import ZooRunner
from mim_zoo.engine.hooks import ReconstructionHook
from mim_zoo.engine.hooks.summary import TOTALS
from mim_zoo.engine.loading import read_checkpoint
from mim_zoo.evaluation.features import block_features, dataset_features
from mim_zoo.registry import HOOKS


@pytest.fixture
def cfg(tmp_path):
    return small_cfg(tmp_path)


def test_run_ends_with_both_results_and_a_picture(cfg, tmp_path):
    cfg.custom_hooks[1].linear = True
    runner = run(cfg)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    for part in ('untrained', 'trained'):
        assert {
            'reconstruction_error',
            'explained_share',
            'knn_top1',
            'linear_top1',
        } <= set(summary[part])
    assert summary['untrained'] != summary['trained']
    assert summary['images_seen'] == 2 * 16
    points = summary['evaluations']
    assert [(p['iter'], p['images_seen']) for p in points] == [(0, 0), (2, 16), (4, 32)]
    assert summary['untrained'].items() <= points[0].items()
    assert summary['trained'].items() <= points[-1].items()
    drawn = sorted(p.name for p in (tmp_path / 'reconstructions').iterdir())
    assert drawn == ['epoch_0.png', 'epoch_1.png', 'epoch_2.png']
    assert Image.open(tmp_path / 'reconstructions' / 'epoch_2.png').width > 4 * 128
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert f'explained_share: {summary["trained"]["explained_share"]:.4f}' in log
    error = summary['trained']['reconstruction_error']
    assert f'reconstruction_error: {error:.4f}' in log
    logged = runner.message_hub.get_scalar('val/explained_share').current()
    assert logged == pytest.approx(summary['trained']['explained_share'])


def test_masks_are_fixed_so_the_same_weights_give_the_same_metrics(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    cfg.load_from = str(tmp_path / 'epoch_1.pth')
    results = []
    for batch_size in (8, 5):
        cfg.test_dataloader.batch_size = batch_size
        results.append(ZooRunner.from_cfg(copy.deepcopy(cfg)).test())
    trained = json.loads((tmp_path / 'summary.json').read_text())['trained']
    for key in ('reconstruction_error', 'explained_share', 'knn_top1'):
        assert results[0][key] == pytest.approx(trained[key], rel=1e-5)
        assert results[1][key] == pytest.approx(results[0][key], rel=1e-5)


def test_resumed_run_remembers_the_untrained_model(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    before = json.loads((tmp_path / 'summary.json').read_text())
    cfg.train_cfg.max_epochs = 2
    cfg.resume = True
    run(cfg)
    after = json.loads((tmp_path / 'summary.json').read_text())
    assert after['untrained'] == before['untrained']
    assert after['images_seen'] == 2 * 16
    assert after['evaluations'][:2] == before['evaluations']
    assert [point['iter'] for point in after['evaluations']] == [0, 2, 4]


@HOOKS.register_module(force=True)
class StopsBeforeEvaluation(Hook):
    """Stands for what ends a run between an epoch's checkpoint and its evaluation."""

    priority = 'HIGHEST'

    def __init__(self, at):
        self.at = at

    def before_val(self, runner):
        if runner.iter == self.at:
            raise InterruptedError


@pytest.mark.parametrize('epoch', [1, 2])
def test_no_epoch_goes_without_its_evaluation(cfg, tmp_path, epoch):
    cfg.default_hooks.checkpoint.interval = 1
    cfg.custom_hooks.append(dict(type='StopsBeforeEvaluation', at=2 * epoch))
    with pytest.raises(InterruptedError):
        run(cfg)
    assert (tmp_path / f'epoch_{epoch}.pth').is_file()
    del cfg.custom_hooks[-1]
    cfg.resume = True
    run(cfg)
    found = summary_of(tmp_path)
    assert [point['iter'] for point in found['evaluations']] == [0, 2, 4]
    assert found['trained'].items() <= found['evaluations'][-1].items()


def summary_of(tmp_path):
    return json.loads((tmp_path / 'summary.json').read_text())


def test_a_finished_run_resumed_keeps_its_summary(cfg, tmp_path):
    run(cfg)
    before = summary_of(tmp_path)
    (tmp_path / 'summary.json').unlink()
    cfg.resume = True
    runner = run(cfg)
    after = summary_of(tmp_path)
    measured, expected = after.pop('trained'), before.pop('trained')
    last = after.pop('evaluations')[-1]
    assert measured.items() <= last.items()
    assert [p['iter'] for p in before.pop('evaluations')] == [0, 2, last['iter']]
    for key in ('reconstruction_error', 'explained_share', 'knn_top1'):
        assert measured[key] == pytest.approx(expected[key], rel=1e-5)
    assert after == before  # what is told of speed, too
    kept = read_checkpoint(tmp_path / 'epoch_2.pth')
    totals = kept['message_hub']['runtime_info'][TOTALS]
    assert totals['images'] == 2 * 16 and runner.iter == 4


def test_a_checkpoint_inside_an_epoch_has_seen_its_last_batch(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    cfg.default_hooks.checkpoint = dict(
        type='SafeCheckpointHook', by_epoch=False, interval=1
    )
    run(cfg)
    whole = summary_of(tmp_path)
    cfg.resume, cfg.load_from = True, str(tmp_path / 'iter_1.pth')
    run(cfg)
    assert summary_of(tmp_path)['images_seen'] == whole['images_seen'] == 16


@HOOKS.register_module(force=True)
class SlowWriting(Hook):
    """Stands for what takes time when a checkpoint is written."""

    priority = 'VERY_LOW'

    def after_train_epoch(self, runner):
        time.sleep(2.0)

    def before_val_epoch(self, runner):
        time.sleep(2.0)


def test_only_training_counts_as_time(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks.append(dict(type='SlowWriting'))
    began = time.perf_counter()
    runner = run(cfg)
    assert time.perf_counter() - began > 4.0
    assert 0 < runner.message_hub.get_info(TOTALS)['seconds'] < 2.0


def test_without_validation_the_summary_tells_the_speed(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks = [dict(type='LearningSummaryHook')]
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    run(cfg)
    summary = summary_of(tmp_path)
    assert (summary['untrained'], summary['trained']) == ({}, {})
    assert summary['images_seen'] == 16 and summary['images_per_second'] > 0


def test_pictures_need_masks(cfg):
    cfg.model.data_preprocessor.batch_transforms = []
    runner = ZooRunner.from_cfg(copy.deepcopy(cfg))
    hook = next(h for h in runner.hooks if isinstance(h, ReconstructionHook))
    with pytest.raises(ValueError, match='RandomMasking'):
        hook.draw(runner, runner.build_dataloader(cfg.val_dataloader), {}, 'x')


def test_knn_without_labels_is_refused(cfg, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(4):
        Image.new('RGB', (40, 40), (60 * i, 0, 0)).save(folder / f'{i}.png')
    load = [dict(type='LoadImage'), *cfg.val_dataloader.dataset.pipeline]
    cfg.val_dataloader.dataset = dict(
        type='ImageFolder', data_root=str(folder), test_mode=True, pipeline=load
    )
    with pytest.raises(ValueError, match='no labels'):
        run(cfg)


def test_evaluation_leaves_training_alone(cfg, tmp_path):
    """A run that is evaluated ends with the weights of one that is not."""
    cfg.train_cfg.max_epochs = 1
    evaluated = run(cfg).model.state_dict()
    cfg.work_dir = str(tmp_path / 'plain')
    cfg.custom_hooks = []
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    plain = run(cfg).model.state_dict()
    assert all(torch.equal(evaluated[key], plain[key]) for key in plain)


def test_nothing_random_is_measured(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    full = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    part = {k: v for k, v in full.items() if k != 'head.decoders.0.mask_token'}
    torch.save({'state_dict': part}, tmp_path / 'part.bin')
    cfg.load_from = str(tmp_path / 'part.bin')
    with pytest.raises(ValueError, match='mask_token'):
        ZooRunner.from_cfg(copy.deepcopy(cfg)).test()


def test_no_workers_need_no_other_option(cfg):
    cfg.train_cfg.max_epochs = 1
    cfg.train_dataloader.persistent_workers = True
    assert run(cfg).iter == 2


def test_an_earlier_run_is_not_replaced_without_a_word(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    run(cfg)
    logs = [path.read_text() for path in tmp_path.glob('*/*.log')]
    assert any('holds checkpoints of an earlier run' in log for log in logs)
    assert any('16 images to train on, 16 held out' in log for log in logs)


def test_figures_of_every_block(cfg, tmp_path):
    cfg.custom_hooks[1].update(linear=True, blocks=True)
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    trained = summary_of(tmp_path)['trained']
    names = [name for name in trained if '_block' in name]
    kinds = ('knn_top1', 'linear_top1')
    assert sorted(names) == [f'{kind}_block0{i}' for kind in kinds for i in (1, 2)]
    for kind in kinds:
        assert trained[f'{kind}_block02'] == trained[kind]


def test_features_of_every_block_by_one_pass(cfg):
    runner = ZooRunner.from_cfg(copy.deepcopy(cfg))
    loader, model = runner.build_dataloader(cfg.val_dataloader), runner.model
    before, _ = block_features(model, loader)
    plain, _ = dataset_features(model, loader)
    assert torch.equal(before[1], plain)
    model.backbone.blocks[1].forward = lambda x, *context: torch.ones_like(x)
    after, _ = block_features(model, loader)
    assert torch.equal(after[0], before[0]) and after[0].std(0).min() > 0
    assert after[1].std(0).max() == 0 < before[1].std(0).min()


def test_shares_of_fused_levels_are_measured(cfg, tmp_path):
    cfg.model.neck.outputs = [[0, 1]]
    cfg.default_hooks.fusion = dict(type='FusionWeightsHook')
    run(cfg)
    first, *_, last = summary_of(tmp_path)['evaluations']
    names = ['fusion_weight_0', 'fusion_weight_1']
    assert [first[name] for name in names] == [0.5, 0.5]
    assert sum(last[name] for name in names) == pytest.approx(1)
    assert last[names[0]] != 0.5


def test_no_fused_levels_to_measure(cfg):
    cfg.default_hooks.fusion = dict(type='FusionWeightsHook')
    with pytest.raises(ValueError, match='whose neck sums no levels'):
        run(cfg)
