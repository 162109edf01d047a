"""The tools as a user starts them, on a toy model that a config imports."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from mmengine.config import Config

from mim_zoo import cli, paths
from mim_zoo.options import checked_options, parse_options, quoted

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command: object, ok: bool = True, **env: str) -> str:
    """Run a command in the current folder, which holds no checkout of mim_zoo."""
    paths = {'PYTHONPATH': str(Path.cwd()), 'PYTHON': sys.executable}
    environment = {**os.environ, **paths, 'OMP_NUM_THREADS': '1', **env}
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def python(name: str, *arguments: object, ok: bool = True) -> str:
    return run(sys.executable, ROOT / 'tools' / f'{name}.py', *arguments, ok=ok)


def weights(path: Path) -> torch.Tensor:
    state = torch.load(path, map_location='cpu', weights_only=False)['state_dict']
    return torch.cat([value.flatten() for value in state.values()])


@pytest.mark.slow
def test_train_resume_and_test(config, tmp_path) -> None:
    text = python('train', config, '--auto-scale-lr', '--amp')
    assert 'training in fp32' in text or torch.cuda.is_available()
    work_dir = tmp_path / 'work_dirs' / 'toy'
    assert (work_dir / 'epoch_2.pth').is_file()

    options = ['--cfg-options', 'train_cfg.max_epochs=3']
    text = python('train', config, '--resume', *options)
    assert 'epoch_2.pth' in text
    assert (work_dir / 'epoch_3.pth').is_file()

    out = tmp_path / 'results' / 'metrics.json'
    text = python('test', config, work_dir / 'epoch_3.pth', '--out', out)
    metrics = json.loads(out.read_text())
    assert metrics['images'] == 16
    assert 0 < metrics['error'] < 1
    assert re.search(rf'error\s+{metrics["error"]:.4f}', text)


@pytest.mark.slow
def test_two_processes_train_as_one(config, tmp_path) -> None:
    options = ['--cfg-options', 'train_dataloader.batch_size=8']
    python('train', config, '--work-dir', 'one', *options)
    train = ROOT / 'tools' / 'dist_train.sh'
    run(train, config, 2, '--work-dir', 'two', PORT=free_port())
    one, two = (tmp_path / name / 'epoch_2.pth' for name in ('one', 'two'))
    torch.testing.assert_close(weights(one), weights(two), rtol=1e-5, atol=1e-7)

    test = ROOT / 'tools' / 'dist_test.sh'
    text = run(test, config, two, 2, '--out', 'two.json', PORT=free_port())
    assert json.loads((tmp_path / 'two.json').read_text())['images'] == 16
    assert len(re.findall(r'images\s+16', text)) >= 1


@pytest.mark.slow
def test_scripts_say_how_they_are_used() -> None:
    for name in ('dist_train', 'dist_test', 'slurm_train'):
        text = run(ROOT / 'tools' / f'{name}.sh', ok=False)
        assert f'tools/{name}.sh' in text
        assert 'CONFIG' in text


@pytest.mark.slow
def test_a_mistake_is_one_line(config) -> None:
    text = python('train', config, '--cfg-options', 'optim_wrapper.lr=1', ok=False)
    assert 'Traceback' not in text
    assert text.count('\n') == 1
    assert text.startswith('error: --cfg-options: the config has no "optim_wrapper.lr"')


def error_of(name: str, *arguments: object) -> str:
    with pytest.raises(SystemExit) as stopped:
        tool(name).main([str(word) for word in arguments])
    message = str(stopped.value)
    assert '\n' not in message
    return message


def test_a_wrong_config_path_names_the_nearest(config) -> None:
    assert 'did you mean toy.py?' in error_of('train', 'toi.py')
    assert 'no config file "nowhere/at/all.py"' in error_of(
        'test', 'nowhere/at/all.py', 'x'
    )


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (
            ['--resume', 'runs/epoch_1.pth'],
            '--resume: no file "runs/epoch_1.pth"; there',
        ),
        (['--cfg-options', 'load_from=gone.pth'], 'load_from: no file "gone.pth"'),
        (
            ['--cfg-options', 'model.init_cfg.checkpoint=gone.pth'],
            'model.init_cfg.checkpoint: no file "gone.pth"',
        ),
        (['--cfg-options', 'optim_wrapper.type=Own', '--amp'], '--amp needs optim'),
        (['--cfg-options', 'auto_scale_lr=None', '--auto-scale-lr'], 'base_batch_size'),
    ],
)
def test_what_is_missing_is_said(config, arguments, expected) -> None:
    assert expected in error_of('train', config, *arguments)


def test_a_missing_checkpoint_names_the_nearest(config, tmp_path) -> None:
    (tmp_path / 'epoch_10.pth').touch()
    message = error_of('test', config, tmp_path / 'epoch_1.pth')
    assert f'did you mean {tmp_path}/epoch_10.pth?' in message


def test_a_config_that_measures_nothing(config) -> None:
    text = config.read_text().replace('test_evaluator = dict(type=', '# ')
    config.write_text(text)
    assert 'has no test_evaluator' in error_of('test', config, 'any.pth')


@pytest.mark.parametrize(
    ('key', 'problem'),
    [
        ('model.bais', 'did you mean model.bias'),
        ('model.widht', 'did you mean model.width'),  # an argument not in the config
        ('train_cfg.max_epoch', 'did you mean train_cfg.max_epochs'),
        ('trian_cfg', 'did you mean train_cfg'),
        ('model.bias.more', '"model.bias" is True, with nothing below it'),
        ('visualizer.vis_backends.7.type', 'is a list of 2, got "7"'),
    ],
)
def test_unknown_options_are_refused(config, key, problem) -> None:
    message = error_of('train', config, '--cfg-options', f'{key}=3')
    assert problem in message
    assert key in message


@pytest.mark.parametrize(
    'key',
    [
        'model.bias',
        'model.width',
        'model.init_cfg.checkpoint',
        'optim_wrapper.clip_grad.max_norm',
        'val_cfg',
        'visualizer.vis_backends.0.save_dir',
        'default_hooks.checkpoint.save_best',
        '+anything.at.all',
    ],
)
def test_known_options_pass(config, key) -> None:
    cfg = Config.fromfile(config)
    checked = checked_options(cfg, {key: 3})
    assert checked == {key.removeprefix('+'): 3}


def test_options_need_a_value(config, capsys) -> None:
    with pytest.raises(SystemExit):
        tool('train').parse_args([str(config), '--cfg-options', 'model.bias'])
    assert 'expected KEY=VALUE, got "model.bias"' in capsys.readouterr().err
    option = "masks=[dict(type='RandomMasking',ratio=0.6)]"
    with pytest.raises(SystemExit):
        tool('train').parse_args([str(config), '--cfg-options', option])
    assert f'cannot read {option}' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        *(('1e-3', 1e-3), ('-2', -2), ('true', True), ('None', None), ('', '')),
        *(('a,1', ['a', 1]), ('[a, 1,]', ['a', 1]), ('[]', []), ('(0.9,1)', (0.9, 1))),
        ('[(1, b), [c]], d', [[(1, 'b'), ['c']], 'd']),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('/my pictures (1)/x', '/my pictures (1)/x'),
        ('"/a,b/[c]"', '/a,b/[c]'),
        ("['/a,b', /c d]", ['/a,b', '/c d']),
        ("it's here", "it's here"),
    ],
)
def test_values_of_options(text, value) -> None:
    assert parse_options([f'key={text}']) == {'key': value}
    if isinstance(value, str):
        assert parse_options([f'key={quoted(value)}']) == {'key': value}


@pytest.mark.parametrize('text', ['{a:1}', '[1,2', 'f(1,2)', 'a],b', '"a,b'])
def test_values_that_cannot_be_read(text, capsys) -> None:
    with pytest.raises(SystemExit):
        parse_options([f'key={text}'])
    assert 'cannot read' in capsys.readouterr().err


@pytest.mark.parametrize('flag', ['--local_rank', '--local-rank'])
def test_both_spellings_of_the_local_rank(config, monkeypatch, flag) -> None:
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    args = tool('train').parse_args([str(config), f'{flag}=3', '--resume'])
    assert args.resume == 'auto'
    monkeypatch.setenv('LOCAL_RANK', '0')  # restored after the test
    os.environ.pop('LOCAL_RANK')
    cfg = cli.load_config(args)
    assert os.environ['LOCAL_RANK'] == '3'
    assert cfg.work_dir == str(Path('work_dirs') / 'toy')


def test_flags_change_the_config(config) -> None:
    cfg = Config.fromfile(config)
    cli.enable_amp(cfg)
    cli.enable_auto_scale_lr(cfg)
    cfg.load_from = 'pre.pth'
    cli.enable_resume(cfg, 'auto')
    assert cfg.optim_wrapper.type == 'mim_zoo.AmpOptimWrapper'
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=4)
    assert (cfg.resume, cfg.load_from) == ('auto', 'pre.pth')
    cli.check_pretrained(cfg)  # needed only where there is nothing to resume from
    cli.enable_resume(cfg, str(config))
    assert (cfg.resume, cfg.load_from) == (True, str(config))


def test_shipped_configs_are_found_by_name(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('_base_/default_runtime', 'configs/_base_/default_runtime.py'):
        assert cli.find_config(name) == ROOT / 'configs/_base_/default_runtime.py'


@pytest.mark.parametrize(('package', 'extra'), list(paths.EXTRAS.items()))
def test_a_missing_package_is_named_with_what_installs_it(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = [
        ModuleNotFoundError(f"No module named '{package}'", name=package),
        ModuleNotFoundError(f'{package} is not installed, please install it manually'),
    ]
    for error in errors:
        monkeypatch.setattr(paths.Config, 'fromfile', Mock(side_effect=error))
        with pytest.raises(ValueError, match=rf'needs {package}: .*mim-zoo\[{extra}\]'):
            paths.read_config(ROOT / 'setup.py')
    other = ModuleNotFoundError(f"No module named 'my_{package}'", name=f'my_{package}')
    monkeypatch.setattr(paths.Config, 'fromfile', Mock(side_effect=other))
    with pytest.raises(ModuleNotFoundError):
        paths.read_config(ROOT / 'setup.py')
    assert (ROOT / 'requirements' / f'{extra}.txt').is_file()
