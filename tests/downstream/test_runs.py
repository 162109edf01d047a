"""Detectors and segmenters train, save, resume, test, in both encoder families."""

import json
import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from config_files import CONFIGS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop
from PIL import Image
from shrink import shrink

from mim_zoo import cli
from mim_zoo.datasets.shapes import CLASSES
from mim_zoo.engine.data_root import fill_data_root

ROOT = CONFIGS.parent
COCO, ADE = CONFIGS / 'coco', CONFIGS / 'ade20k'
PATHS = {
    'mask r-cnn, vit': COCO / 'mask-rcnn_vit-base-p16_16xb4-amp-lsj-100e_coco.py',
    'mask r-cnn, mixmim': COCO / 'mask-rcnn_mixmim-base-w16_16xb4-amp-lsj-50e_coco.py',
    'cascade, vit': COCO / 'cascade-mask-rcnn_vit-base-p16_8xb2-amp-1x_coco.py',
    'upernet, vit': ADE / 'upernet_vit-base-p16_8xb2-amp-160k_ade20k-512x512.py',
    'upernet, mixmim': ADE / 'upernet_mixmim-base-w16_8xb2-amp-160k_ade20k-512x512.py',
}
NUCLEI = CONFIGS / 'nuclei' / 'mask-rcnn_vit-micro-p8_1xb4-4e_nuclei.py'
CAMVID = CONFIGS / 'camvid' / 'upernet_mixmim-c48-p4_1xb4-300_camvid.py'


def load(name: str) -> Config:
    if name != 'cascade, mixmim':
        return Config.fromfile(PATHS[name])
    cfg = Config.fromfile(PATHS['cascade, vit'])
    other = Config.fromfile(PATHS['mask r-cnn, mixmim'])
    for part in ('backbone', 'neck'):
        cfg.model[part] = other.model[part]
    cfg.optim_wrapper.paramwise_cfg = other.optim_wrapper.paramwise_cfg
    return cfg


def last(folder: Path) -> Path:
    return Path((folder / 'last_checkpoint').read_text())


class Kill(Hook):
    """Ends a run after its second iteration, when a checkpoint was written."""

    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
        if by_iteration and runner.iter == 1:  # it counts after the hooks
            runner.train_loop.stop_training = True

    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = True


@pytest.mark.parametrize('name', [*PATHS, 'cascade, mixmim'])
def test_a_run_stopped_half_way_goes_on(name, data, tmp_path) -> None:
    runner = cli.build_runner(shrink(load(name), data, tmp_path))
    runner.register_hook(Kill())
    runner.train()
    middle = torch.load(last(tmp_path / 'run'), weights_only=False)
    assert middle['meta']['iter'] == 2
    cfg = shrink(load(name), data, tmp_path)
    cfg.experiment_name, cfg.resume = 'resumed', True
    runner = cli.build_runner(cfg)
    runner.train()
    end = torch.load(last(tmp_path / 'run'), weights_only=False)
    assert runner.iter == end['meta']['iter'] == 4
    assert {float(s['step']) for s in end['optimizer']['state'].values()} == {4.0}
    moved = [
        not torch.equal(value, end['state_dict'][key])
        for key, value in middle['state_dict'].items()
        if key.endswith('mlp.fc1.weight')
    ]
    assert any(moved)


def dumped(path: Path, data: Path, folder: Path) -> Path:
    """The shrunk config as a file, for tools of others and ours."""
    config = folder / f'{path.stem}.py'
    shrink(Config.fromfile(path), data, folder).dump(config)
    return config


def run(*command: object, shell: str | None = None) -> str:
    program = [shell] if shell else [sys.executable, '-W', 'ignore']
    with socket.socket() as free:  # where the processes of a script meet
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    done = subprocess.run(
        [*program, *map(str, command)],
        env={**os.environ, 'PORT': port, 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def of_shapes(package: str) -> list[str]:
    """Options that put a small config on shapes, but for the folder."""
    classes = CLASSES if package == 'mmdet' else ('background', *CLASSES)
    options = ['model.backbone.init_cfg=None']
    for split in ('train', 'val', 'test'):
        dataset = f'{split}_dataloader.dataset'
        options += [f'{dataset}.metainfo.classes=({",".join(classes)})']
        if package == 'mmdet':
            part = 'train' if split == 'train' else 'val'
            options += [f'{dataset}.data_prefix.img=images/{part}/']
    if package == 'mmseg':
        heads, length = ('decode_head', 'auxiliary_head'), 'max_iters=4'
        options += ['default_hooks.checkpoint.interval=4']
    else:
        heads, length = ('roi_head.bbox_head', 'roi_head.mask_head'), 'max_epochs=2'
    options += [f'model.{head}.num_classes={len(classes)}' for head in heads]
    return [*options, f'train_cfg.{length}', 'train_cfg.val_interval=2']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('package', 'path', 'saved'),
    [('mmdet', NUCLEI, 'epoch_2.pth'), ('mmseg', CAMVID, 'iter_4.pth')],
)
def test_tools_of_others_run_our_configs(package, path, saved, data, tmp_path) -> None:
    tools = Path(find_spec(package).origin).parent / '.mim' / 'tools'
    work_dir = tmp_path / 'theirs'
    options = ['--work-dir', work_dir, '--cfg-options', *of_shapes(package)]
    for split in ('train', 'val', 'test'):  # theirs know no data_root of a whole config
        options += [f'{split}_dataloader.dataset.data_root={data}/']
        if package == 'mmdet' and split != 'train':
            options += [f'{split}_evaluator.ann_file={data}/val.json']
    run(tools / 'train.py', path, *options)
    assert (work_dir / saved).is_file()
    if package == 'mmseg':  # mmdet's imports mmcv's operators before the config
        found = run(tools / 'test.py', path, work_dir / saved, *options)
        assert 'mIoU' in found


@pytest.mark.slow
@pytest.mark.parametrize(
    ('package', 'path', 'saved', 'metric'),
    [
        ('mmdet', NUCLEI, 'epoch_2.pth', 'coco/segm_mAP'),
        ('mmseg', CAMVID, 'iter_4.pth', 'mIoU'),
    ],
)
def test_two_processes(package, path, saved, metric, data, tmp_path) -> None:
    work_dir, out = tmp_path / 'ours', tmp_path / 'metrics.json'
    options = ['--work-dir', work_dir, '--cfg-options', *of_shapes(package)]
    options += [f'data_root={data}/', 'train_dataloader.batch_size=2']
    tools = ROOT / 'tools'
    run(tools / 'dist_train.sh', path, 2, *options, shell='bash')
    command = [tools / 'dist_test.sh', path, work_dir / saved, 2, '--out', out]
    run(*command, *options, shell='bash')
    assert 0 <= json.loads(out.read_text())[metric] <= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ('path', 'saved', 'metric'),
    [(NUCLEI, 'epoch_2.pth', 'coco/segm_mAP'), (CAMVID, 'iter_4.pth', 'mIoU')],
)
def test_our_tools_train_test_and_draw(path, saved, metric, data, tmp_path) -> None:
    config, work_dir = dumped(path, data, tmp_path), tmp_path / 'ours'
    run(ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir)
    pictures, out = tmp_path / 'pictures', tmp_path / 'metrics.json'
    command = [ROOT / 'tools' / 'test.py', config, work_dir / saved]
    options = ['--work-dir', work_dir, '--show-dir', pictures, '--out', out]
    table = run(*command, *options)
    value = json.loads(out.read_text())[metric]
    assert metric in table
    assert 0 <= value <= 100
    drawn = sorted(p for p in pictures.rglob('*') if p.suffix in ('.png', '.jpg'))
    assert len(drawn) == 2
    assert np.asarray(Image.open(drawn[0])).shape[2] == 3


@pytest.mark.parametrize('head', ['bbox_head', 'mask_head'])
def test_heads_have_as_many_classes_as_the_data(head, shrunk) -> None:
    cfg = shrunk(NUCLEI)
    cfg.model.roi_head[head].num_classes = 2
    runner = cli.build_runner(cfg)
    with pytest.raises(
        ValueError, match=rf'{head}: got num_classes=2, expected 5.*star'
    ):
        runner.train()


def test_segmenters_have_as_many_classes_as_the_data(shrunk) -> None:
    cfg = shrunk(CAMVID)
    cfg.model.auxiliary_head.num_classes = 4
    with pytest.raises(ValueError, match=r'model\.auxiliary_head: got num_classes=4'):
        cli.build_runner(cfg).val()


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
def test_classes_are_called_as_in_the_annotations(loader, shrunk) -> None:
    cfg = shrunk(NUCLEI)
    named = list(cfg[loader].dataset.metainfo.classes)
    cfg[loader].dataset.metainfo.classes = [named[0].title(), *named[1:]]
    words = rf'categories .*{named[0]}.*expected {named[0].title()} among them'
    with pytest.raises(ValueError, match=words):
        cli.build_runner(cfg).train()


def test_a_mask_with_a_value_that_is_no_class(shrunk) -> None:
    cfg = shrunk(CAMVID)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.classes = loader.dataset.metainfo.classes[:3]
    for head in (cfg.model.decode_head, cfg.model.auxiliary_head):
        head.num_classes = 3
    words = r'\.png: got the values \[.*[34].*\], expected 0 to 2, .* or 255'
    with pytest.raises(ValueError, match=words):
        cli.build_runner(cfg).train()


@pytest.mark.parametrize(
    ('path', 'setting', 'words'),
    [
        (NUCLEI, dict(metainfo=dict(classes=('nucleus',))), 'CocoDataset.*nucleus'),
        (CAMVID, dict(img_suffix='.tiff'), r"BaseSegDataset.*img_suffix='\.tiff'"),
    ],
)
def test_data_without_an_image(path, setting, words, shrunk) -> None:
    cfg = shrunk(path)
    cfg.train_dataloader.dataset.update(setting)
    with pytest.raises(ValueError, match=f'{words}.*Fix'):
        cli.build_runner(cfg).train()


def test_pictures_need_a_hook_that_draws() -> None:
    cfg = Config(dict(default_hooks=dict()))
    with pytest.raises(SystemExit, match=r'has no default_hooks\.visualization'):
        cli.enable_pictures(cfg, 'pictures')


def test_data_root_moves_data_and_metric(tmp_path) -> None:
    options = ['--cfg-options', f'data_root={tmp_path}/']
    cfg = cli.load_config(cli.make_parser('').parse_args([str(NUCLEI), *options]))
    for part in ('train', 'val', 'test'):
        root = cfg[f'{part}_dataloader'].dataset.data_root
        assert Path(root) == tmp_path
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file
    assert cfg.val_evaluator.ann_file == f'{tmp_path}/val.json'
    args = cli.make_parser('').parse_args([str(PATHS['upernet, vit']), *options])
    assert Path(cli.load_config(args).train_dataloader.dataset.data_root) == tmp_path


def test_other_options_come_after_the_move(tmp_path) -> None:
    words = [f'data_root={tmp_path}', 'val_evaluator.ann_file=data/nuclei/mine.json']
    args = [str(NUCLEI), '--cfg-options', *words]
    cfg = cli.load_config(cli.make_parser('').parse_args(args))
    assert cfg.val_evaluator.ann_file == 'data/nuclei/mine.json'
    assert cfg.test_evaluator.ann_file == f'{tmp_path}/val.json'


def test_a_root_that_is_no_folder_is_refused() -> None:
    args = [str(NUCLEI), '--cfg-options', 'data_root=None']
    with pytest.raises(ValueError, match='data_root: got None, expected the path'):
        cli.load_config(cli.make_parser('').parse_args(args))


def test_a_root_that_moves_nothing_is_refused(tmp_path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text(f"_base_ = {str(NUCLEI)!r}\ndata_root = '/mnt/nuclei'\n")
    cfg = Config.fromfile(path)
    with pytest.raises(ValueError, match="'/mnt/nuclei', but no data set"):
        fill_data_root(cfg.train_dataloader, cfg)
    cfg.train_dataloader.dataset.data_root = '/mnt/nuclei/'
    fill_data_root(cfg.train_dataloader, cfg)


def test_from_scratch_by_an_option(data, tmp_path) -> None:
    options = ['--cfg-options', 'model.backbone.init_cfg=None']
    cfg = cli.load_config(cli.make_parser('').parse_args([str(NUCLEI), *options]))
    assert cfg.model.backbone.init_cfg is None
    runner = cli.build_runner(shrink(cfg, data, tmp_path))
    runner.model.init_weights()
