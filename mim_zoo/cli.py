"""What ``tools/train.py`` and ``tools/test.py`` share: arguments, config, messages.

A mistake in a command ends with one line that says what to write instead.
"""

import argparse
import difflib
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mmengine.registry
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope, Registry, init_default_scope
from mmengine.runner import Runner
from rich import box
from rich.console import Console
from rich.table import Table

from . import registry
from .engine.data_root import move_data
from .errors import fail
from .paths import shipped_config, shipped_configs
from .registry import RUNNERS, SCOPE


class Options(DictAction):
    """KEY=VALUE pairs; a value of several items as [a,b] or a,b."""

    def __call__(self, parser: Any, namespace: Any, values: Any, *rest: Any) -> None:
        for pair in values:
            if '=' not in pair:
                parser.error(f'--cfg-options: expected KEY=VALUE, got "{pair}"')
        try:
            super().__call__(parser, namespace, values, *rest)
        except RecursionError:  # MMEngine's answer to parentheses it cannot pair
            parser.error(
                f'--cfg-options: cannot read {" ".join(values)}; a value is a number, '
                'a word or a list of them ([a,b]): write dicts in a config file of '
                'your own, with _base_ = [CONFIG]'
            )


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that every tool running a config takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        'config', help='config file: a path, or its name below configs/'
    )
    parser.add_argument(
        '--work-dir', help='folder for what is written (./work_dirs/CONFIG_NAME)'
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
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of every error'
    )
    # torch.distributed.launch passes either spelling; torchrun neither.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS
    )
    return parser


def load_config(args: argparse.Namespace) -> Config:
    """Read the config named by the arguments, with their changes in it."""
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    path = find_config(args.config)
    cfg = Config.fromfile(path)
    data_root = cfg.get('data_root')
    cfg.merge_from_dict(checked_options(cfg, args.cfg_options))
    if data_root and cfg.data_root != data_root:
        move_data(cfg, data_root)
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / path.stem)
    if cfg.get('load_from'):
        check_file(cfg.load_from, 'load_from')
    return cfg


def find_config(name: str) -> Path:
    """A config by path, or by its name below the configs that come with mim_zoo."""
    for path in (Path(name), Path(f'{name}.py')):
        if path.is_file():
            return path
    if (found := shipped_config(name)) is not None:
        return found
    neighbours = [str(path) for path in Path(name).parent.glob('*.py')]
    fail(f'no config file "{name}"{_nearest(name, [*neighbours, *shipped_configs()])}')


def check_file(path: str, what: str) -> None:
    """End the command unless ``path`` exists or is an address."""
    if '://' in path or Path(path).exists():
        return
    folder = Path(path).parent
    if not folder.is_dir():
        fail(f'{what}: no file "{path}"; there is no folder "{folder}".')
    files = sorted(str(found) for found in folder.glob('*.pth'))
    hint = _nearest(path, files) or f'; "{folder}" holds no other checkpoint.'
    fail(f'{what}: no file "{path}"{hint}')


def checked_options(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """The ``--cfg-options`` without their "+"; an unknown key ends the command.

    Known is what the config has, and any argument of the class that a ``type`` names.
    """
    checked = {}
    with _scope(cfg):
        for key, value in options.items():
            name = key.removeprefix('+')
            if name == key and (problem := _problem(cfg, key)):
                fail(f'--cfg-options: {problem}')
            checked[name] = value
    return checked


def _scope(cfg: Config) -> Any:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE))


def _problem(cfg: Config, key: str) -> str | None:
    """What is wrong with an option's key, None if it is known."""
    node: Any = cfg._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        here = '.'.join(parts[:depth])
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                return f'"{key}": "{here}" is a list of {len(node)}, got "{part}".'
            node = node[int(part)]
        elif isinstance(node, dict):
            if part not in node:
                arguments = _arguments(node, at_top=depth == 0)
                if arguments is None or part in {*arguments, '_delete_'}:
                    return None  # what is below is the new argument's own affair
                prefix = f'{here}.' if here else ''
                names = [*_keys(cfg._cfg_dict), *(prefix + name for name in arguments)]
                return (
                    f'the config has no "{key}"{_nearest(key, names)} '
                    f'To add it all the same, write +{key}=VALUE.'
                )
            node = node[part]
        else:
            return f'"{key}": "{here}" is {node!r}, with nothing below it.'
    return None


def _arguments(node: dict[str, Any], at_top: bool) -> Iterable[str] | None:
    """What may be added to this dict; None if that cannot be known."""
    if at_top:
        return inspect.signature(Runner.__init__).parameters
    if 'type' not in node:
        return ()
    built = node['type']
    found = _lookup(built) if isinstance(built, str) else built
    if found is None:
        return None
    names: set[str] = set()
    for owner in inspect.getmro(found) if inspect.isclass(found) else [found]:
        parameters = inspect.signature(owner).parameters
        names |= parameters.keys()
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            break  # without **kwargs nothing reaches the parents
    return names


def _lookup(name: str) -> Any:
    """The class or function that any registry knows under ``name``."""
    for module in (registry, mmengine.registry):
        for candidate in vars(module).values():
            if isinstance(candidate, Registry) and (found := candidate.get(name)):
                return found
    return None


def _keys(node: Any, prefix: str = '') -> Iterator[str]:
    """Every dotted key of nested dicts and lists."""
    pairs = enumerate(node) if isinstance(node, list | tuple) else node.items()
    for key, value in pairs:
        yield f'{prefix}{key}'
        if isinstance(value, dict | list | tuple):
            yield from _keys(value, f'{prefix}{key}.')


def _nearest(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f'; did you mean {" or ".join(found)}?' if found else '.' if known else ''


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
    """Go on from a file, or ('auto') from the newest whole one of the work folder."""
    cfg.resume = True
    cfg.load_from = None
    if resume != 'auto':
        check_file(resume, '--resume')
        cfg.load_from = resume


def enable_pictures(cfg: Config, folder: str) -> None:
    """Draw predictions beside the truth and write them into ``folder``."""
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if not hook:
        fail(
            '--show-dir: the config has no default_hooks.visualization, which draws '
            'the predictions of detectors (DetVisualizationHook) and segmenters '
            '(SegVisualizationHook). For reconstructions: tools/show_reconstruction.py.'
        )
    folder = str(Path(folder).resolve())  # mmdet puts a relative one below itself
    hook.update(draw=True, interval=1)
    if str(hook.type).split('.')[-1] == 'DetVisualizationHook':
        hook.test_out_dir = folder
    else:
        cfg.visualizer.save_dir = folder


def check_pretrained(cfg: Config) -> None:
    """End the command if a file that the model starts from is missing."""
    for key in _keys(cfg.model):
        owner, _, last = key.rpartition('.')
        if last == 'checkpoint' and owner.split('.')[-1] == 'init_cfg':
            value = _at(cfg.model, key)
            if not isinstance(value, str) or not value:
                fail(f'model.{key}: expected the path of a checkpoint, got {value!r}.')
            check_file(value, f'model.{key}')


def _at(node: Any, key: str) -> Any:
    for part in key.split('.'):
        node = node[int(part)] if isinstance(node, list | tuple) else node[part]
    return node


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


def write_metrics(metrics: Mapping[str, Any], path: str) -> None:
    """Write the metrics as one JSON object."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(dict(metrics), indent=2) + '\n')
