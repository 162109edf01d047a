import argparse

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import nn

from mim_zoo.engine.loading import (
    load_weights,
    read_checkpoint,
    save_state_dict,
    state_dict_of,
)


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


class Resampled(nn.Module):
    """A table that takes any length: its hook cuts or repeats the file's."""

    def __init__(self, length: int):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(length, 2))

    def _load_from_state_dict(self, state_dict, prefix, *rest):
        key = f'{prefix}table'
        if key in state_dict:
            state_dict[key] = state_dict[key].repeat(9, 1)[: len(self.table)]
        super()._load_from_state_dict(state_dict, prefix, *rest)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_saved_weights_come_back_bit_for_bit(tmp_path, suffix):
    state = small().state_dict()
    state['view'] = state['0.weight'][:, 1:].T  # neither contiguous nor its own storage
    save_state_dict(state, tmp_path / f'w{suffix}')
    back = state_dict_of(read_checkpoint(tmp_path / f'w{suffix}'))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[k], state[k]) for k in state)
    assert [p.name for p in tmp_path.iterdir()] == [f'w{suffix}']
    (tmp_path / 'plain').touch()
    modes = {p.stat().st_mode for p in tmp_path.iterdir()}
    assert len(modes) == 1  # readable by whom the umask says


def test_a_failed_save_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / 'w.safetensors'
    save_state_dict({'a': torch.ones(2)}, path)
    with pytest.raises(TypeError):
        save_state_dict({'a': torch.zeros(2)}, path, metadata={'a': 1})
    assert torch.equal(read_checkpoint(path)['a'], torch.ones(2))
    assert len(list(tmp_path.iterdir())) == 1


def test_training_checkpoint_of_mmengine_needs_no_trust(tmp_path):
    hub = MessageHub.get_instance('test_loading')
    for i in range(3):
        hub.update_scalar('train/loss', i / 2)
    values = {'hub': hub.state_dict(), 'acc': np.float64(0.5), 'n': np.arange(3)}
    torch.save({'state_dict': small().state_dict(), **values}, tmp_path / 'e.pth')
    content = read_checkpoint(tmp_path / 'e.pth')
    history = content['hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean() == 0.5
    assert content['acc'] == 0.5


@pytest.mark.parametrize('package', [b'numpy.core', b'numpy._core'])
def test_arrays_of_both_numpy_generations_are_read(tmp_path, package):
    import zipfile

    torch.save({'state_dict': {'a': torch.ones(1)}, 'x': np.ones(2)}, tmp_path / 'a')
    with zipfile.ZipFile(tmp_path / 'a') as old:
        files = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(tmp_path / 'b.pth', 'w') as new:
        for name, data in files.items():
            if name.endswith('data.pkl'):
                data = data.replace(b'numpy._core', b'numpy.core')
                data = data.replace(b'numpy.core', package)
                assert package in data
            new.writestr(name, data)
    assert read_checkpoint(tmp_path / 'b.pth')['x'].tolist() == [1, 1]


def test_pickles_of_objects_need_trust(tmp_path):
    path = tmp_path / 'official.pth'
    args = argparse.Namespace(lr=1)
    torch.save({'model': {'a': torch.ones(1)}, 'args': args}, path)
    with pytest.raises(ValueError, match=r'argparse\.Namespace.*--trust'):
        read_checkpoint(path)
    assert read_checkpoint(path, trust=True)['args'].lr == 1


def test_getattr_of_a_pickle_reaches_nothing_else(tmp_path):
    class Reach:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    torch.save({'a': Reach()}, tmp_path / 'e.pth')
    with pytest.raises(ValueError, match='--trust'):
        read_checkpoint(tmp_path / 'e.pth')


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('damage', ['missing', 'empty', 'truncated', 'text', 'folder'])
def test_unreadable_files_are_named_with_their_size(tmp_path, suffix, damage):
    path = tmp_path / f'w{suffix}'
    save_state_dict({'a': torch.ones(1000)}, path)
    whole = path.read_bytes()
    path.unlink()
    if damage == 'folder':
        path.mkdir()
    elif damage != 'missing':
        content = {'empty': b'', 'truncated': whole[:1500], 'text': b'epoch,loss\n' * 9}
        path.write_bytes(content[damage])
    with pytest.raises(ValueError) as caught:
        read_checkpoint(path)
    said = str(caught.value)
    assert str(path) in said
    assert '--trust' not in said
    expected = {'missing': 'no such file', 'folder': 'a folder'}
    size = '0 bytes' if damage == 'empty' else 'bytes)'
    assert expected.get(damage, size) in said


def test_an_address_is_no_file():
    with pytest.raises(
        ValueError, match=r'https://example\.org/w\.pth: expected a file'
    ):
        read_checkpoint('https://example.org/w.pth')


def test_wrappings_are_removed():
    plain = {'a.b': torch.ones(1)}
    assert state_dict_of(plain) == plain
    assert state_dict_of({'model': plain, 'epoch': 3}) == plain
    assert state_dict_of({'state_dict': {'module.a.b': plain['a.b']}}) == plain
    assert state_dict_of({'module': {'model': plain}}) == plain
    with pytest.raises(ValueError, match='epoch'):
        state_dict_of({'epoch': 3})


def test_report_counts_elements_and_names():
    module, state = small(), small().state_dict()
    state['2.weight'] = torch.zeros(3, 8)
    del state['2.bias']
    state['extra'] = torch.zeros(1)
    report = load_weights(module, state, min_share=0.5)
    total = 32 + 8 + 4 * 8 + 16 + 2
    assert report.share == pytest.approx((total - 16 - 2) / total)
    assert report.missing == ['2.bias']
    assert report.unexpected == ['extra']
    assert list(report.mismatched) == ['2.weight']
    assert '(3, 8) in the file, (2, 8) here' in str(report)
    assert torch.equal(module[0].weight, state['0.weight'])


def test_too_little_is_an_error():
    state = {k: v for k, v in small().state_dict().items() if k.startswith('1.')}
    with pytest.raises(ValueError, match=r'(?s)missing \(4\): 0\.weight.*min_share'):
        load_weights(small(), state)


def test_prefix_selects_and_strips():
    source = small()
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    state['head.weight'] = torch.zeros(1)
    for prefix in ('backbone.', 'backbone'):
        module = small()
        report = load_weights(module, state, prefix=prefix)
        assert report.share == 1
        assert not report.unexpected
        assert torch.equal(module[2].weight, source[2].weight)
    with pytest.raises(ValueError, match=r"'neck\.'; it has backbone, head"):
        load_weights(small(), state, prefix='neck')


def test_hooks_of_the_module_run_before_shapes_are_compared():
    module = nn.Sequential(Resampled(6))
    report = load_weights(module, {'0.table': torch.ones(2, 2)})
    assert report.share == 1
    assert not report.mismatched
    assert module[0].table.sum() == 12


def test_the_given_state_dict_is_left_alone():
    state = {'table': torch.ones(2, 2)}
    load_weights(Resampled(6), state)
    assert state['table'].shape == (2, 2)


@pytest.mark.parametrize(
    ('name', 'label'),
    [
        ('blocks.0.norm1.weight', 'timm, or official MAE, DeepMIM or dBOT'),
        ('decoder_blocks.0.norm1.weight', 'official MAE'),
        ('decoder_blocks1.0.norm1.weight', 'official DeepMIM'),
        ('decoder_predp.weight', 'official dBOT'),
        ('backbone.layers.0.ln1.weight', 'mmpretrain'),
    ],
)
def test_foreign_names_are_told_where_to_go(name, label):
    hint = rf'names are those of {label}: run tools/convert_checkpoint\.py'
    with pytest.raises(ValueError, match=hint):
        load_weights(small(), {name: torch.ones(1)})
    with pytest.raises(ValueError, match=hint):
        load_weights(small(), {name: torch.ones(1)}, prefix='encoder')
