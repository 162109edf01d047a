import numpy as np
import pytest
from PIL import Image

from mim_zoo.datasets import ImageFolder
from mim_zoo.registry import DATASETS


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path, format='PNG')


def entries(dataset):
    """(path below the root, label) of every item."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    paths = [info['img_path'].removeprefix(f'{dataset.root}/') for info in infos]
    return list(zip(paths, [info.get('gt_label') for info in infos]))


@pytest.fixture
def classes(tmp_path):
    write(
        tmp_path, 'dog/b.png', 'dog/a.JPEG', 'cat/deep/x y.webp', 'cat/z.PNG', 'top.png'
    )
    (tmp_path / 'cat/notes.txt').write_text('no image')
    write(tmp_path, '.hidden/c.png', 'dog/._a.png')
    return tmp_path


def test_class_folders(classes):
    dataset = ImageFolder(str(classes), with_label=True)
    assert entries(dataset) == [
        ('cat/z.PNG', 0),
        ('cat/deep/x y.webp', 0),
        ('dog/a.JPEG', 1),
        ('dog/b.png', 1),
    ]
    assert dataset.CLASSES == dataset.metainfo['classes'] == ('cat', 'dog')


def test_nested_and_flat_folders_without_labels(classes):
    names = ['top.png', 'cat/z.PNG', 'cat/deep/x y.webp', 'dog/a.JPEG', 'dog/b.png']
    assert entries(ImageFolder(str(classes))) == [(name, None) for name in names]
    assert entries(ImageFolder(str(classes / 'dog'))) == [
        ('a.JPEG', None),
        ('b.png', None),
    ]


def test_a_link_that_leads_back_is_not_followed(classes):
    before = entries(ImageFolder(str(classes)))
    (classes / 'cat/deep/up').symlink_to(classes / 'cat')
    (classes / 'cat/deep/here').symlink_to('.')
    assert entries(ImageFolder(str(classes))) == before


def test_a_folder_is_read_once_by_however_many_links(classes, tmp_path_factory):
    before = entries(ImageFolder(str(classes)))
    (classes / 'all').symlink_to(classes / 'dog')
    (classes / 'zoo').mkdir()
    (classes / 'zoo/deep').symlink_to(classes / 'cat/deep')
    assert entries(ImageFolder(str(classes))) == before
    root = tmp_path_factory.mktemp('links')
    for name in ('a', 'b'):
        (root / name).symlink_to(classes / 'dog')
    (root / 'hidden').symlink_to(root / '.hidden')
    write(root, '.hidden/h.png')
    names = ['a/a.JPEG', 'a/b.png', 'hidden/h.png']
    assert entries(ImageFolder(str(root))) == [(name, None) for name in names]


def test_symlinked_class_folders_are_followed(classes, tmp_path_factory):
    root = tmp_path_factory.mktemp('links')
    (root / 'dog').symlink_to(classes / 'dog')
    dataset = ImageFolder(str(root), with_label=True)
    assert entries(dataset) == [('dog/a.JPEG', 0), ('dog/b.png', 0)]


def test_metainfo_chooses_and_orders_classes(classes):
    write(classes, 'eel/e.png')
    meta = {'classes': ['eel', 'cat']}
    dataset = ImageFolder(str(classes), with_label=True, metainfo=meta)
    assert entries(dataset) == [
        ('eel/e.png', 0),
        ('cat/z.PNG', 1),
        ('cat/deep/x y.webp', 1),
    ]


def test_built_by_the_registry_without_a_default_scope(classes):
    pipeline = [dict(type='LoadImage'), dict(type='PackInputs')]
    dataset = DATASETS.build(
        dict(type='ImageFolder', data_root=str(classes), pipeline=pipeline)
    )
    item = dataset[-1]
    assert item['inputs'].shape == (3, 4, 4)
    assert (item['sample_idx'], item['img_path']) == (4, str(classes / 'dog/b.png'))
    with pytest.raises(IndexError):
        dataset[5]


def test_list_with_labels_and_spaces(classes):
    (classes / 'list.txt').write_text('dog/b.png 7\n\ncat/deep/x y.webp  3\n')
    dataset = ImageFolder(str(classes), list_file='list.txt', with_label=True)
    assert entries(dataset) == [('dog/b.png', 7), ('cat/deep/x y.webp', 3)]
    dataset = ImageFolder(str(classes), list_file=str(classes / 'list.txt'))
    assert entries(dataset) == [('dog/b.png', None), ('cat/deep/x y.webp', None)]


def test_list_without_labels_takes_the_class_folder(classes):
    (classes / 'list.txt').write_text('dog/b.png\ncat/deep/x y.webp\n')
    dataset = ImageFolder(str(classes), list_file='list.txt', with_label=True)
    assert entries(dataset) == [('dog/b.png', 1), ('cat/deep/x y.webp', 0)]
    assert dataset.CLASSES == ('cat', 'dog')


def test_list_of_bare_names_as_simclr_published(tmp_path):
    names = ['n01440764/n01440764_10026.JPEG', 'n02102040/n02102040_7.JPEG']
    write(tmp_path, *names, 'n01000000/n01000000_1.JPEG')
    lines = [name.split('/')[1] for name in names]
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    dataset = ImageFolder(str(tmp_path), list_file='list.txt', with_label=True)
    # Labels count all class folders, also those the list does not touch.
    assert entries(dataset) == [(names[0], 1), (names[1], 2)]
    assert entries(ImageFolder(str(tmp_path), 'list.txt')) == [(n, None) for n in names]


def test_subset_and_indices(classes):
    dataset = ImageFolder(str(classes), indices=3)
    assert len(dataset) == 3
    subset = dataset.get_subset([2, 0])
    assert entries(subset) == [('cat/deep/x y.webp', None), ('top.png', None)]
    assert subset.unreadable_files() == []


def error(root, *parts, **kwargs):
    with pytest.raises(ValueError) as caught:
        ImageFolder(str(root), **kwargs)
    for part in parts:
        assert str(part) in str(caught.value)


def test_root_that_is_absent_or_a_file(tmp_path):
    write(tmp_path, 'there/a.png')
    error(tmp_path / 'three' / 'x', 'three/x does not exist', tmp_path, '(there)')
    error(tmp_path / 'there/a.png', 'a.png is a file')


@pytest.mark.parametrize('with_label', [False, True])
def test_folder_without_images(tmp_path, with_label):
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub/a.mat').write_text('')
    (tmp_path / 'a.txt').write_text('')
    found = ('1 x .txt', '1 folders (sub)', '.jpg', '.tif', tmp_path)
    error(tmp_path, 'found no image', *found, with_label=with_label)


def test_labels_without_class_folders(tmp_path):
    write(tmp_path, 'a.png', 'b.png')
    found = ('one folder per class', 'files 2 x .png', 'with_label=False')
    error(tmp_path, *found, with_label=True)


def test_an_empty_class_folder(classes):
    (classes / 'eel').mkdir()
    error(classes, '1 of the class folders', 'eel', with_label=True)


def test_folder_of_splits_is_not_a_folder_of_classes(tmp_path):
    write(tmp_path, 'train/cat/a.png', 'val/cat/b.png')
    error(tmp_path, 'splits, not classes', f"'{tmp_path}/train'", with_label=True)


def test_absent_classes(classes):
    meta = {'classes': ['cat', 'cow']}
    error(classes, 'cow', 'cat, dog', with_label=True, metainfo=meta)


def test_list_errors(classes):
    error(classes, 'absent.txt not found', classes, list_file='absent.txt')
    (classes / 'empty.txt').write_text('\n\n')
    error(classes, 'has no entries', list_file='empty.txt')
    (classes / 'wrong.txt').write_text('train/dog/a.png\ntrain/dog/b.png\n')
    wrong = ('none of the files', 'train/dog/a.png', 'relative to data_root')
    error(classes, *wrong, list_file='wrong.txt')
    (classes / 'stray.txt').write_text('dog/b.png\ntop.png\n')
    stray = ('line 2', 'top.png', 'cat, dog')
    error(classes, *stray, list_file='stray.txt', with_label=True)
    (classes / 'high.txt').write_text('dog/b.png 2\n')
    high = {'list_file': 'high.txt', 'metainfo': {'classes': ['cat', 'dog']}}
    error(classes, 'label 2', 'expected 0 to 1', with_label=True, **high)


def test_max_unreadable_is_a_share(classes):
    error(classes, 'expected 0 to 1, got 5', max_unreadable=5)
