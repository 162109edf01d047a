"""What ``tools/train.py`` and ``tools/test.py`` share: arguments, config, messages.

A mistake in a command ends with one line that says what to write instead.
"""

import argparse
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich import box
from rich.console import Console
from rich.table import Table

from .engine.data_root import move_data
from .errors import fail
from .options import Options, checked_options, keys_of, nearest, value_at
from .paths import read_config, shipped_config, shipped_configs, write_text
from .registry import RUNNERS, SCOPE


def config_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every tool reading a config takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        'config', help='config file: a path, or its name below configs/'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Options,
        default={},
        metavar='KEY=VALUE',
        help='change the config; +KEY=VALUE adds a key that it does not know',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of every error'
    )
    return parser


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every tool running a config takes."""
    parser = config_parser(description)
    parser.add_argument(
        '--work-dir', help='folder for what is written (./work_dirs/CONFIG_NAME)'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    # torch.distributed.launch passes either spelling; torchrun neither.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS
    )
    return parser


def changed_config(args: argparse.Namespace) -> Config:
    """Read the config named by the arguments, with ``--cfg-options`` in it."""
    cfg = read_config(find_config(args.config))
    options, data_root = checked_options(cfg, args.cfg_options), cfg.get('data_root')
    if data_root and 'data_root' in options:
        cfg.data_root = options['data_root']
        move_data(cfg, data_root)
    cfg.merge_from_dict(options)
    return cfg


def load_config(args: argparse.Namespace) -> Config:
    """Read the config named by the arguments of ``make_parser``, ready to run."""
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = changed_config(args)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / find_config(args.config).stem)
    return cfg


def find_config(name: str) -> Path:
    """A config by path, or by its name below the configs that come with mim_zoo."""
    for path in (Path(name), Path(f'{name}.py')):
        if path.is_file():
            return path
    if (found := shipped_config(name)) is not None:
        return found
    neighbours = [str(path) for path in Path(name).parent.glob('*.py')]
    fail(f'no config file "{name}"{nearest(name, [*neighbours, *shipped_configs()])}')


def check_file(path: str, what: str) -> None:
    """End the command unless ``path`` exists."""
    if '://' in path:
        fail(f'{what}: "{path}" is an address; download it, and give the path.')
    if Path(path).exists():
        return
    folder = Path(path).parent
    if not folder.is_dir():
        fail(f'{what}: no file "{path}"; there is no folder "{folder}".')
    files = sorted(str(found) for found in folder.glob('*.pth'))
    hint = nearest(path, files) or f'; "{folder}" holds no other checkpoint.'
    fail(f'{what}: no file "{path}"{hint}')


def enable_amp(cfg: Config) -> None:
    """Train in mixed precision, in bf16 unless the config names a dtype."""
    wrapper = cfg.get('optim_wrapper')
    kind = (wrapper or {}).get('type', 'OptimWrapper')
    if wrapper is None or str(kind).split('.')[-1] not in (
        'OptimWrapper',
        'AmpOptimWrapper',
    ):
        fail(f'--amp needs optim_wrapper.type="OptimWrapper", the config has {kind!r}.')
    wrapper.type = f'{SCOPE}.AmpOptimWrapper'


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate by effective batch / ``base_batch_size``."""
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        fail(
            '--auto-scale-lr: the config does not say which batch size its learning '
            'rate is for; add auto_scale_lr = dict(base_batch_size=...).'
        )
    cfg.auto_scale_lr.enable = True


def enable_resume(cfg: Config, resume: str) -> None:
    """Go on from a file, or ('auto') from the newest whole one of the work folder.

    Where there is none yet, 'auto' leaves it to the config's ``load_from``.
    """
    cfg.resume = 'auto'
    if resume != 'auto':
        check_file(resume, '--resume')
        cfg.resume, cfg.load_from = True, resume


def enable_pictures(cfg: Config, folder: str) -> None:
    """Draw predictions beside the truth and write them into ``folder``."""
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if not hook or not cfg.get('visualizer'):
        fail(
            '--show-dir: the config has no default_hooks.visualization and visualizer, '
            'which draw what detectors (DetVisualizationHook) and segmenters '
            '(SegVisualizationHook) predict. For reconstructions: '
            'tools/show_reconstruction.py.'
        )
    folder = str(Path(folder).resolve())  # mmdet puts a relative one below itself
    hook.update(draw=True, interval=1)
    if str(hook.type).split('.')[-1] == 'DetVisualizationHook':
        hook.test_out_dir = folder
    else:
        cfg.visualizer.save_dir = folder


def check_pretrained(cfg: Config) -> None:
    """End the command if a file that the run starts from is missing."""
    if cfg.get('load_from') and cfg.get('resume') != 'auto':
        check_file(cfg.load_from, 'load_from')
    for key in keys_of(cfg.model):
        owner, _, last = key.rpartition('.')
        if last == 'checkpoint' and owner.split('.')[-1] == 'init_cfg':
            value = value_at(cfg.model, key)
            if not isinstance(value, str) or not value:
                fail(f'model.{key}: expected the path of a checkpoint, got {value!r}.')
            check_file(value, f'model.{key}')


def build_runner(cfg: Config) -> Runner:
    """The config's own runner type, else ours."""
    init_default_scope(cfg.get('default_scope', SCOPE))
    if 'runner_type' not in cfg:
        cfg.runner_type = f'{SCOPE}.ZooRunner'
    return RUNNERS.build(cfg)


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as JSON can hold them."""
    return {
        name: value.tolist() if hasattr(value, 'tolist') else value
        for name, value in metrics.items()
    }


def show_metrics(metrics: Mapping[str, Any], title: str) -> None:
    """Print a table, one row per metric."""
    table = Table('metric', title=title, title_justify='left', box=box.SIMPLE)
    table.add_column('value', justify='right')
    for name, value in metrics.items():
        table.add_row(name, f'{value:.4f}' if isinstance(value, float) else str(value))
    Console().print(table)


def check_output(path: str | None, suffixes: Collection[str] = ()) -> None:
    """End the command if a file cannot be written there, before the work is done."""
    if path is None:
        return
    if Path(path).is_dir():
        fail(f'--out: "{path}" is a folder, expected a file to write')
    if suffixes and Path(path).suffix.lower() not in suffixes:
        fail(f'--out: got "{path}", expected the name of a picture, such as a.png')


def write_metrics(metrics: Mapping[str, Any], path: str) -> None:
    """Write the metrics as one JSON object."""
    write_text(Path(path), json.dumps(dict(metrics), indent=2) + '\n')
