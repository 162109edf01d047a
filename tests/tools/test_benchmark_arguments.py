"""What ``tools/benchmark.py`` takes."""

import pytest
import torch
from test_cli import error_of, tool

MAE = 'photos/mae_vit-micro-p4_photos-32px'
CPU = ['--config', MAE, '--device', 'cpu']


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (
            ['--method', 'mea'],
            '--method mea --size base: expected one of data2vec base,',
        ),
        (['--method', 'mae', '--size', 'tiny'], '--size tiny: expected one of'),
        (['--config', 'mae_vit'], 'no config file "mae_vit"'),
        (['--config', 'vit-base-p16_knn_in1k'], 'has no optim_wrapper'),
        (
            ['--config', 'vit-micro-p4_scratch_digits-32px'],
            'its model is Classifier, expected masked image modelling',
        ),
        (['--config', MAE, '--against', 'gone.py'], 'no config file "gone.py"'),
        (['--config', MAE, '--peer', 'timm'], "--peer: got 'timm', expected one of"),
        (['--config', MAE, '--peer-config', 'x.py'], '--peer-config needs --peer'),
        (['--config', MAE, '--pairs', '0'], '--pairs: got 0, expected 1 or more'),
        (['--config', MAE, '--warm-up', '0'], '--warm-up: got 0'),
        (['--config', MAE, '--batch', '0'], '--batch: got 0'),
        (['--config', MAE, '--device', 'cpu', '--dtype', 'bf16'], 'bf16 needs a GPU'),
        ([*CPU, '--threads', '-2'], '--threads: got -2, expected 1 or more'),
        ([*CPU, '--threads', '0'], '--threads: got 0, expected 1 or more'),
        ([*CPU, '--peak-tflops', '-3'], '--peak-tflops: got -3.0, expected a number'),
        ([*CPU, '--peak-tflops', '0'], '--peak-tflops: got 0.0'),
        ([*CPU, '--peak-tflops', 'nan'], '--peak-tflops: got nan'),
        ([*CPU, '--profile', '-1'], '--profile: got -1, expected 0 rows or more'),
        ([*CPU, '--size', 'base'], '--size goes with --method'),
        (['--config', MAE, '--cfg-options', 'model.nek=1'], 'model.neck'),
    ],
)
def test_mistakes(arguments, expected) -> None:
    assert expected in error_of('benchmark', 'step', *arguments)


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--image-size', '0'], '--image-size: got [0], expected a side'),
        (['--image-size', '8', '8', '8'], '--image-size: got [8, 8, 8]'),
        (['--against-options', 'model.backbone.widnow=1'], 'model.backbone.window'),
    ],
)
def test_mistakes_with_an_encoder(arguments, expected) -> None:
    assert expected in error_of('benchmark', 'encoder', *CPU, *arguments)


def test_options_are_of_our_side() -> None:
    arguments = [*CPU, '--peer', 'mmpretrain', '--against-options', 'model.neck=None']
    assert 'leave out --peer' in error_of('benchmark', 'step', *arguments)


def test_threads_are_of_the_cpu(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    for device in ([], ['--device', 'cuda']):
        arguments = ['step', '--config', MAE, '--threads', '2', *device]
        assert '--threads is for the CPU' in error_of('benchmark', *arguments)


def test_a_method_is_measured_at_base() -> None:
    benchmark = tool('benchmark')
    for words, size in (([], 'base'), (['--size', 'large'], 'large')):
        args = benchmark.parse_args(['step', '--method', 'mae', *words])
        (side,) = benchmark.read_sides(args)
        assert side.model['backbone']['arch'] == size


def test_a_peer_that_is_not_installed(monkeypatch) -> None:
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    arguments = ['step', '--method', 'mae', '--peer', 'mmpretrain']
    assert 'pip install onedl-mmpretrain' in error_of('benchmark', *arguments)


def test_the_help_names_every_command(capsys) -> None:
    with pytest.raises(SystemExit):
        tool('benchmark').parse_args(['--help'])
    help = capsys.readouterr().out
    assert 'a training step' in help and 'an encoder alone' in help
