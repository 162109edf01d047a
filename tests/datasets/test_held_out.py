import os
import shutil

import pytest
from PIL import Image

from mim_zoo.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'images'
    for i in range(40):
        path = root / f'{i % 4}' / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (4, 4)).save(path)
    return root


def names(root, split, share=0.25):
    dataset = DATASETS.build(
        dict(
            type='HeldOutSplit',
            split=split,
            share=share,
            dataset=dict(type='ImageFolder', data_root=str(root)),
        )
    )
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [info['sample_idx'] for info in infos] == list(range(len(infos)))
    return {info['img_path'].rsplit('/', 1)[1] for info in infos}


def test_parts_are_disjoint_and_complete(folder):
    train, val = names(folder, 'train'), names(folder, 'val')
    assert not train & val
    assert len(train | val) == 40
    assert 2 <= len(val) <= 18


def test_parts_survive_a_move_and_new_files(folder, tmp_path):
    before = names(folder, 'val')
    moved = tmp_path / 'elsewhere'
    shutil.move(folder, moved)
    Image.new('RGB', (4, 4)).save(moved / '0' / 'new.png')
    assert names(moved, 'val') - {'new.png'} == before


def test_names_need_not_be_text(folder):
    shutil.copy(folder / '0' / '0.png', os.fsencode(folder) + b'/0/\xe9t\xe9.png')
    both = names(folder, 'train') | names(folder, 'val')
    assert len(both) == 41 and '\udce9t\udce9.png' in both


@pytest.mark.parametrize('bad', [dict(split='test'), dict(split='val', share=1.0)])
def test_refuses(folder, bad):
    with pytest.raises(ValueError, match='HeldOutSplit'):
        names(folder, **bad)


def test_empty_part_is_refused(folder):
    with pytest.raises(ValueError, match='no image of 40'):
        names(folder, 'val', share=1e-5)
