import pytest
import torch
from PIL import Image

from mim_zoo.datasets import ImageNetSubset
from mim_zoo.datasets.imagenet_subset import imagenet_wnids
from mim_zoo.evaluation import Accuracy

CHOSEN = ('n01498041', 'n01531178')  # stingray and goldfinch: 6 and 11


def folder(tmp_path, names=CHOSEN):
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(tmp_path / name / '0.png')
    return str(tmp_path)


def test_labels_are_those_of_imagenet(tmp_path):
    dataset = ImageNetSubset(folder(tmp_path), with_label=True)
    labels = [dataset.get_data_info(i)['gt_label'] for i in range(len(dataset))]
    assert labels == [6, 11]
    assert dataset.metainfo['present'] == (6, 11)
    assert dataset.metainfo['classes'] == imagenet_wnids()


def test_a_folder_that_is_no_class_of_imagenet(tmp_path):
    with pytest.raises(ValueError, match='got the folder "cats"'):
        ImageNetSubset(folder(tmp_path, ['cats', *CHOSEN]), with_label=True)
    with pytest.raises(ValueError, match='got no folder'):
        (tmp_path / 'none').mkdir()
        ImageNetSubset(str(tmp_path / 'none'), with_label=True)


def test_labels_come_from_folders_only(tmp_path):
    root = folder(tmp_path / 'images')
    names = tmp_path / 'list.txt'
    names.write_text(f'{CHOSEN[1]}/0.png\n')
    options = dict(list_file=str(names), with_label=True)
    dataset = ImageNetSubset(root, **options)
    assert dataset.get_data_info(0)['gt_label'] == 11
    assert dataset.metainfo['present'] == (6, 11)
    names.write_text(f'{CHOSEN[1]}/0.png 0\n')
    with pytest.raises(ValueError, match='has the label 0'):
        ImageNetSubset(root, **options)
    with pytest.raises(ValueError, match=r"got metainfo\['classes'\], expected none"):
        ImageNetSubset(root, with_label=True, metainfo=dict(classes=CHOSEN))


def test_only_present_classes_compete(tmp_path):
    dataset = ImageNetSubset(folder(tmp_path), with_label=True)
    scores = torch.zeros(2, 1000)
    scores[:, 500] = 3.0  # no image is of it
    scores[0, 6], scores[1, 6] = 2.0, 1.0
    records = [
        dict(pred_score=score, gt_label=label)
        for score, label in zip(scores, torch.tensor([6, 11]))
    ]
    found = []
    for meta in (dict(dataset.metainfo), None):
        metric = Accuracy(topk=(1, 2))
        metric.dataset_meta = meta
        metric.process({}, records)
        found.append(metric.compute_metrics(metric.results))
    assert found == [dict(top1=50.0, top2=100.0), dict(top1=0.0, top2=50.0)]
