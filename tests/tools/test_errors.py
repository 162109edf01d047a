"""What a user has to change is told without a traceback; other errors are not."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from PIL import Image
from test_cli import error_of, python, tool

from mim_zoo import cli
from mim_zoo.errors import plain_errors
from mim_zoo.registry import MODELS


def folder_of_images(folder: Path) -> Path:
    folder.mkdir()
    for i in range(3):
        Image.new('RGB', (30, 20), (80 * i, 0, 0)).save(folder / f'{i}.png')
    (folder / '8.png').write_bytes(b'no image')
    (folder / '9.png').write_bytes(b'no image')
    return folder


def use_images(config: Path, folder: Path) -> None:
    loader = {
        'num_workers': 0,
        'dataset': {
            'type': 'ImageFolder',
            'data_root': str(folder),
            'pipeline': [{'type': 'LoadImage'}, {'type': 'PackInputs'}],
        },
    }
    with config.open('a') as file:
        file.write(f'train_dataloader.update({loader!r})\n')


def test_our_errors_are_told_without_a_traceback(config, tmp_path) -> None:
    use_images(config, tmp_path / 'gone')
    message = error_of('train', config)
    assert message.startswith('error: ImageFolder expects a folder as data_root')
    with pytest.raises(ValueError, match='expects a folder'):
        tool('train').main([str(config), '--debug'])


@pytest.mark.parametrize('workers', [0, 1])
def test_unreadable_files_are_told_without_a_traceback(
    config, tmp_path, workers
) -> None:
    use_images(config, folder_of_images(tmp_path / 'images'))
    words = [config, '--cfg-options', f'train_dataloader.num_workers={workers}']
    with pytest.raises(SystemExit) as stopped:
        tool('train').main([str(word) for word in words])
    message = str(stopped.value)
    assert re.match(r'error: [12] of 5 files cannot be read', message)
    assert 'File "' not in message and '9.png' in message


def test_a_loss_that_is_not_finite_is_told_without_a_traceback(config) -> None:
    options = ['--cfg-options', 'optim_wrapper.optimizer.lr=1e38']
    assert 'error: Training stopped: ' in error_of('train', config, *options)


def test_weights_of_another_model_are_told_without_a_traceback(
    config, tmp_path
) -> None:
    torch.save({'state_dict': {'other': torch.zeros(1)}}, tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match=r'error: other.pth: '):
        tool('test').main([str(config), 'other.pth'])


def test_errors_of_others_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match='invalid literal'), plain_errors():
        int('x')
    with pytest.raises(RuntimeError), plain_errors():
        raise RuntimeError('CUDA')


@pytest.mark.slow
def test_an_error_while_building_ends_with_status_1(config, tmp_path) -> None:
    use_images(config, tmp_path / 'gone')
    text = python('train', config, ok=False)
    assert 'Traceback' not in text
    assert text.splitlines()[-1].startswith('error: ImageFolder expects a folder')
    assert 'Traceback' in python('train', config, '--debug', ok=False)


def test_images_need_masks_to_be_drawn(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(cli.find_config('mae_vit-micro-p4_photos-32px'))
    cfg.model.data_preprocessor.batch_transforms = []
    cfg.dump('masks.py')
    Image.new('RGB', (40, 40)).save('a.png')
    torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, 'w.pth')
    arguments = ('masks.py', 'w.pth', '--images', 'a.png')
    assert 'RandomMasking' in error_of('show_reconstruction', *arguments)
    assert not (tmp_path / 'reconstruction.png').exists()
