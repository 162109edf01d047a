"""ShardedImages: the index of tar files, and what is read by it."""

import gzip
import logging
import multiprocessing
import os
import pickle
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mim_zoo.datasets import Draw, ImageFolder, ShardedImages, shards
from mim_zoo.datasets.shard_index import INDEX_NAME, ShardIndex, open_index, read_shard
from mim_zoo.datasets.shards import ShardReader
from mim_zoo.registry import DATASETS

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=8),
    dict(type='PackInputs'),
]
LONG = 'cat/' + 'long name ' * 15 + 'ä.png'


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two class folders, and an image that is in none."""
    root = tmp_path / 'images'
    names = [f'{c}/{n}.png' for c in ('dog', 'cat') for n in range(5)]
    noise = np.random.default_rng(0)
    for name in [*names, LONG, 'dog/deep/x.jpg', 'top.png']:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (9, 12, 3), np.uint8)).save(path)
    for name in ('cat/notes.txt', 'cat/._0.png', '.hidden.png'):
        (root / name).write_text('no image')
    return root


@pytest.fixture
def packed(images: Path, tmp_path: Path) -> Path:
    """Two shards of that folder, by tar itself, one in each of its formats."""
    out = tmp_path / 'shards'
    out.mkdir()
    tar = ('tar', '-C', images, '-c', '-f')
    subprocess.run([*tar, out / 'a.tar', '--format=gnu', './cat'], check=True)
    rest = ('dog', 'top.png', '.hidden.png')
    subprocess.run([*tar, out / 'b.tar', '--format=pax', *rest], check=True)
    return out


def entries(dataset: ImageFolder | ShardedImages) -> list[tuple[str, int | None]]:
    """(path below the root, label) of every item, sorted."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    paths = [info['img_path'].removeprefix(f'{dataset.root}/') for info in infos]
    return sorted(zip(paths, [info.get('gt_label') for info in infos]))


def pixels(dataset: ImageFolder | ShardedImages) -> dict[str, torch.Tensor]:
    items = [dataset[index] for index in range(len(dataset))]
    return {i['img_path'].removeprefix(str(dataset.root)): i['inputs'] for i in items}


@pytest.mark.parametrize('with_label', [False, True])
def test_equals_the_folder(images: Path, packed: Path, with_label: bool) -> None:
    whole = [dict(type='LoadImage'), dict(type='PackInputs')]
    folder = ImageFolder(str(images), with_label=with_label, pipeline=whole)
    sharded = ShardedImages(str(packed), with_label, whole)
    assert entries(sharded) == entries(folder)
    assert len(sharded) == 12 + (not with_label)
    assert sharded.CLASSES == folder.CLASSES
    left, right = pixels(sharded), pixels(folder)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[path], right[path]) for path in right)


def test_used_by_name_with_a_seed(packed: Path) -> None:
    cfg = dict(type='ShardedImages', data_root=str(packed), pipeline=PIPELINE)
    one, two = DATASETS.build(cfg), DATASETS.build(cfg)
    assert torch.equal(one[Draw(3, 7)]['inputs'], two[Draw(3, 7)]['inputs'])
    assert not torch.equal(one[Draw(3, 7)]['inputs'], one[Draw(3, 8)]['inputs'])
    assert one[-1]['sample_idx'] == 12


def test_jpegs_go_to_the_device_as_they_are(packed: Path) -> None:
    pipeline = [dict(type='ReadJpeg'), dict(type='CropOnDevice', size=8)]
    dataset = ShardedImages(str(packed), pipeline=pipeline)
    kinds = {
        Path(item['img_path']).suffix: type(item['inputs']).__name__
        for item in (dataset[index] for index in range(len(dataset)))
    }
    assert kinds == {'.jpg': 'EncodedCrop', '.png': 'Tensor'}


def test_classes_can_be_chosen(images: Path, packed: Path) -> None:
    meta = {'classes': ['dog']}
    sharded = ShardedImages(str(packed), with_label=True, metainfo=meta)
    folder = ImageFolder(str(images), with_label=True, metainfo=meta)
    assert entries(sharded) == entries(folder)
    assert len(sharded) == 6 and sharded.CLASSES == ('dog',)
    with pytest.raises(ValueError, match=r"1 classes .*\['eel'\].*\['cat', 'dog'\]"):
        meta = {'classes': ['dog', 'eel']}
        ShardedImages(str(packed), with_label=True, metainfo=meta)


@pytest.mark.parametrize('names', [['a.png'], ['train/a.png', 'val/b.png']])
def test_labels_need_class_folders(tmp_path: Path, names: list[str]) -> None:
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    assert len(ShardedImages(str(tmp_path))) == len(names)
    with pytest.raises(ValueError, match=r'CLASS/NAME.jpg .*with_label=False'):
        ShardedImages(str(tmp_path), with_label=True)


def test_split_and_subset_are_the_folders(images: Path, packed: Path) -> None:
    def held_out(kind: str, root: Path, split: str) -> list:
        inner = dict(type=kind, data_root=str(root))
        outer = dict(type='HeldOutSplit', split=split, share=0.4, dataset=inner)
        return entries(DATASETS.build(outer))

    for split in ('train', 'val'):
        same = held_out('ShardedImages', packed, split)
        assert same == held_out('ImageFolder', images, split)
    dataset = ShardedImages(str(packed), pipeline=PIPELINE, indices=-4)
    names = entries(dataset)
    subset = dataset.get_subset([3, 0])
    assert len(dataset) == len(names) == 4 and len(subset) == 2
    assert subset.get_data_info(1)['img_path'] == dataset.get_data_info(0)['img_path']
    assert subset[0]['inputs'].shape == (3, 8, 8)
    assert subset.shard_numbers().tolist() == [1, 1]


def test_the_index_is_kept_and_read(packed: Path, monkeypatch) -> None:
    index = open_index(packed)
    monkeypatch.setattr('mim_zoo.datasets.shard_index.read_shard', None)
    again = open_index(packed)
    assert (again.shards, again.folders) == (index.shards, ('', 'cat', 'dog'))
    assert again.text == index.text and (again.rows == index.rows).all()
    names = [again[place]['img_path'] for place in range(len(again))]
    assert LONG in names and 'top.png' in names
    assert {path.name for path in packed.iterdir()} == {'a.tar', 'b.tar', INDEX_NAME}


def test_a_folder_that_cannot_be_written(packed: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError('read-only')

    monkeypatch.setattr(ShardIndex, 'save', refuse)
    lines: list[str] = []
    monkeypatch.setattr(
        'mim_zoo.datasets.shard_index.print_log',
        lambda text, *_, level=logging.INFO: lines.append(text),
    )
    assert len(open_index(packed)) == 13
    assert 'read-only' in lines[-1] and '2 shards again' in lines[-1]


def test_shards_that_are_not_those_of_the_index(packed: Path) -> None:
    def refused(pattern: str) -> None:
        with pytest.raises(ValueError, match=pattern):
            ShardedImages(str(packed))

    ShardedImages(str(packed))
    whole = (packed / 'a.tar').read_bytes()
    (packed / 'a.tar').write_bytes(whole[:-1024])
    shutil.copy(packed / 'b.tar', packed / 'c.tar')
    refused(r'2 shards, .*1 are not in it \(c.tar\) and 1 have another size \(a.tar\)')
    (packed / 'c.tar').unlink()
    (packed / 'a.tar').unlink()
    refused(r'1 are missing \(a.tar\)')
    (packed / 'a.tar').write_bytes(whole)
    assert len(ShardedImages(str(packed))) == 13
    (packed / INDEX_NAME).write_bytes(whole)
    refused(r'cannot be read as an index .*remove it')


def test_another_file_of_the_same_size_is_noticed(packed: Path, tmp_path: Path) -> None:
    """The names of two images of one size are swapped."""
    files = {name: bytes(600) for name in ('x.npy', 'y.npy')}
    for order in (1, -1):
        with tarfile.open(packed / 'c.tar', 'w') as tar:
            for name in list(files)[::order]:
                (tmp_path / name).write_bytes(files[name])
                tar.add(tmp_path / name, name)
        index = open_index(packed)
    reader = ShardReader([packed / name for name, _ in index.shards])
    assert reader.read(0, index[0]['member'])
    with pytest.raises(ValueError, match=r'c.tar does not hold x.npy at byte \d+'):
        reader.read(2, index[13]['member'])


def test_a_shard_that_is_cut_while_in_use(packed: Path) -> None:
    dataset = ShardedImages(str(packed), pipeline=PIPELINE, max_unreadable=0.2)
    last = int(np.flatnonzero(dataset.shard_numbers() == 0)[-1])
    member = dataset.get_data_info(last)['member']
    os.truncate(packed / 'a.tar', member.offset + member.size - 1)
    assert dataset[last]['img_path'] != dataset.get_data_info(last)['img_path']
    assert dataset.unreadable_files() == [dataset.get_data_info(last)['img_path']]


def damaged(name: str, path: Path) -> str:
    """Harm a tar file; what is to be said of it."""
    data = path.read_bytes()
    short = [image for image in read_shard(path).images[1:] if image.path != LONG]
    begin = short[0].offset - 512  # of a header that no other one belongs to
    if name == 'cut':
        path.write_bytes(data[: begin + 600])
    elif name == 'ends at a header':
        path.write_bytes(data[:begin])
    elif name == 'a header':
        path.write_bytes(data[:begin] + b'\xff' * 512 + data[begin + 512 :])
    elif name == 'compressed':
        path.write_bytes(gzip.compress(data))
    else:
        with tarfile.open(path, 'a') as tar:
            link = tarfile.TarInfo('link.png')
            link.type, link.linkname = tarfile.LNKTYPE, 'cat/0.png'
            tar.addfile(link)
        return 'link.png is a link'
    return 'a.tar is no whole, uncompressed tar file'


DAMAGES = ('cut', 'ends at a header', 'a header', 'compressed', 'link')


@pytest.mark.parametrize('name', DAMAGES)
def test_tar_files_in_which_images_would_be_lost(packed: Path, name: str) -> None:
    with pytest.raises(ValueError, match=damaged(name, packed / 'a.tar')):
        ShardedImages(str(packed))
    assert not (packed / INDEX_NAME).exists()


def test_no_shards(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='absent does not exist'):
        ShardedImages(str(tmp_path / 'absent'))
    (tmp_path / 'a.tar.gz').write_bytes(b'')
    with pytest.raises(ValueError, match=r'holds a.tar.gz. Fix: .*decompress'):
        ShardedImages(str(tmp_path))


def read_all(dataset: ShardedImages, channel) -> None:
    channel.put([dataset[index]['inputs'].sum().item() for index in range(13)])


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_read_in_other_processes(packed: Path, method: str) -> None:
    whole = [dict(type='LoadImage'), dict(type='PackInputs')]
    dataset = ShardedImages(str(packed), pipeline=whole)
    expected = [dataset[index]['inputs'].sum().item() for index in range(13)]
    context = multiprocessing.get_context(method)
    channel = context.Queue()
    child = context.Process(target=read_all, args=(dataset, channel))
    child.start()
    assert channel.get(timeout=60) == expected
    child.join()
    assert dataset[0]['inputs'].sum().item() == expected[0]


def descriptors() -> int:
    """Tar files that this process has open."""
    paths = [path.resolve() for path in Path('/proc/self/fd').iterdir()]
    return sum(path.suffix == '.tar' for path in paths)


def test_few_files_are_open(packed: Path, monkeypatch) -> None:
    monkeypatch.setattr(shards, '_OPEN', 2)
    for number in range(4):
        shutil.copy(packed / 'a.tar', packed / f'c{number}.tar')
    dataset = ShardedImages(str(packed), pipeline=PIPELINE)
    most = 0
    for index in range(len(dataset)):
        dataset[index]
        most = max(most, descriptors())
    assert most == 2
    copy = pickle.loads(pickle.dumps(dataset))
    del dataset
    assert descriptors() == 0
    assert copy[0]['inputs'].shape == (3, 8, 8)


def test_read_ahead_asks_for_a_whole_shard_once(packed: Path, monkeypatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, 'posix_fadvise', lambda fd, start, size, _: asked.append((start, size))
    )
    with (packed / 'b.tar').open('ab') as file:
        file.truncate(300_000)  # zeros, as at the end of every tar file
    ShardedImages(str(packed), pipeline=PIPELINE)[12]
    assert asked == []
    dataset = ShardedImages(str(packed), pipeline=PIPELINE, read_ahead=True)
    dataset[12], dataset[11]
    assert asked == [(start, 2**17) for start in (0, 2**17, 2**18)]
