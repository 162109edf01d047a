import shutil
from collections import Counter
from itertools import combinations

import pytest
from PIL import Image

from mim_zoo.registry import DATASETS

COUNTS = {'a': 20, 'b': 10, 'c': 2}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'images'
    for name, count in COUNTS.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new('RGB', (4, 4)).save(root / name / f'{i}.png')
    return root


def chosen(root, share, seed=0, with_label=True):
    inner = dict(type='ImageFolder', data_root=str(root), with_label=with_label)
    dataset = DATASETS.build(
        dict(type='ClassShare', share=share, seed=seed, dataset=inner)
    )
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    return {path.removeprefix(str(root)) for path in paths}


def test_every_class_keeps_its_share_and_at_least_one(folder):
    counts = Counter(path.split('/')[1] for path in chosen(folder, 0.2))
    assert counts == {'a': 4, 'b': 2, 'c': 1}
    assert len(chosen(folder, 1.0)) == sum(COUNTS.values())


def test_a_larger_share_contains_the_smaller(folder):
    assert chosen(folder, 0.1) < chosen(folder, 0.4)


def test_the_seed_chooses_and_the_place_does_not(folder, tmp_path):
    first = chosen(folder, 0.2)
    assert chosen(folder, 0.2, seed=1) != first
    shutil.move(folder, tmp_path / 'elsewhere')
    assert chosen(tmp_path / 'elsewhere', 0.2) == first


def test_seeds_choose_independently(tmp_path):
    (tmp_path / 'a').mkdir()
    for i in range(100):
        Image.new('RGB', (1, 1)).save(tmp_path / 'a' / f'{i:02}.png')
    draws = [chosen(tmp_path, 0.3, seed) for seed in range(5)]
    shared = [len(a & b) for a, b in combinations(draws, 2)]
    assert 7 < sum(shared) / len(shared) < 11  # 9 by chance
    assert min(shared) > 2


@pytest.mark.parametrize('share', [0, 1.5])
def test_refuses_no_share(folder, share):
    with pytest.raises(ValueError, match='expected 0 < share <= 1'):
        chosen(folder, share)


def test_refuses_images_without_labels(folder):
    with pytest.raises(ValueError, match='has no label'):
        chosen(folder, 0.5, with_label=False)
