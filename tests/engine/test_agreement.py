"""Data sets that disagree, and classifiers too small for them, stop a run."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from PIL import Image
from torch import nn

from mim_zoo.datasets import ImageFolder
from mim_zoo.engine.hooks import DataAgreementHook, KNNHook
from mim_zoo.engine.hooks.agreement import check_classes
from mim_zoo.models import Classifier
from mim_zoo.registry import DATASETS


@pytest.fixture
def root(tmp_path):
    """Three classes to train on; to evaluate, one has no folder."""
    for name in ('train/ant', 'train/bee', 'train/cat', 'val/ant', 'val/cat'):
        (tmp_path / name).mkdir(parents=True)
        for i in range(20):
            image = Image.fromarray(np.zeros((2, 2, 3), np.uint8))
            image.save(tmp_path / name / f'{i}.png')
    return tmp_path


def folder(path: Any, **given: Any) -> ImageFolder:
    return ImageFolder(str(path), with_label=True, **given)


def part(path: Any, split: str, share: float = 0.3) -> Any:
    inner = dict(type='ImageFolder', data_root=str(path))
    cfg = dict(type='HeldOutSplit', split=split, share=share, dataset=inner)
    return DATASETS.build(cfg)


def run(train: Any, val: Any = None, model: Any = None) -> SimpleNamespace:
    """What the hook asks of a runner."""
    data = {'train': train, 'val': val, 'test': val}
    loaders = {f'{k}_dataloader': SimpleNamespace(dataset=v) for k, v in data.items()}
    return SimpleNamespace(
        model=model or nn.Linear(1, 1),
        val_loop=val and object(),
        logger=SimpleNamespace(warning=Mock()),
        **loaders,
    )


def classifier(count: int) -> Classifier:
    backbone = dict(
        type='MIMViT',
        arch=dict(embed_dim=8, depth=1, num_heads=1),
        img_size=8,
        patch_size=8,
    )
    return Classifier(backbone, num_classes=count)


def test_a_folder_that_lacks_a_class_is_told(root) -> None:
    train, hook = folder(root / 'train'), DataAgreementHook()
    wrong = r'Label 1 is bee in train_dataloader \(3 classes\), cat in val_dataloader'
    with pytest.raises(ValueError, match=wrong):
        hook.before_train(run(ConcatDataset([train]), folder(root / 'val')))
    named = dict(classes=['ant', 'bee', 'cat'])
    val = folder(root / 'val', test_mode=True, metainfo=named)
    assert sorted({val.get_data_info(i)['gt_label'] for i in range(40)}) == [0, 2]
    hook.before_train(run(train, val))
    hook.before_train(run(train))
    with pytest.raises(ValueError, match='1 classes without'):
        folder(root / 'val', metainfo=named)


def test_classes_may_end_earlier_or_have_no_names() -> None:
    check_classes(dict(one=('a', 'b'), other=['a', 'b', 'c'], third=None))
    with pytest.raises(ValueError, match='Label 0 is a in one'):
        check_classes(dict(one=('a',), third=None, other=('b',)))


def test_a_checkpoint_says_what_a_classifier_has_learned(root) -> None:
    hook, runner = DataAgreementHook(), run(None, folder(root / 'val'), classifier(3))
    hook.before_test(runner)
    meta = dict(dataset_meta=dict(classes=('ant', 'bee', 'cat')))
    hook.after_load_checkpoint(runner, dict(meta=meta))
    with pytest.raises(ValueError, match='Label 1 is bee in the checkpoint'):
        hook.before_test(runner)
    runner.model = nn.Linear(1, 1)  # pre-trained, on whatever data
    hook.before_test(runner)
    for other in (dict(meta={}), dict(meta=dict(dataset_meta=None)), {}):
        hook.after_load_checkpoint(runner, other)
        hook.before_test(run(None, folder(root / 'val'), classifier(3)))


def test_a_bank_that_counts_otherwise_is_told(root) -> None:
    bank, val = (SimpleNamespace(dataset=folder(root / n)) for n in ('train', 'val'))
    runner = SimpleNamespace(build_dataloader=lambda *_, **__: bank, seed=0)
    with pytest.raises(ValueError, match=r'Label 1 is bee in bank .* in evaluated'):
        KNNHook(bank={}).evaluate(runner, val)


def test_a_classifier_with_too_few_classes_is_told(root) -> None:
    train, hook = folder(root / 'train'), DataAgreementHook()
    with pytest.raises(ValueError, match=r'num_classes: got 2, expected 3, .*=3'):
        hook.before_train(run(train, model=classifier(2)))
    for count, words in ((3, 0), (4, 1)):
        runner = run(train, model=classifier(count))
        hook.before_train(runner)
        assert runner.logger.warning.call_count == words


def test_held_out_images_are_not_trained_on(root) -> None:
    hook = DataAgreementHook()
    train, val = part(root / 'train', 'train'), part(root / 'train', 'val')
    hook.before_train(run(train, val))
    with pytest.raises(ValueError, match=r'=0.3 in train_dataloader and share=0.2'):
        hook.before_train(run(train, part(root / 'train', 'val', 0.2)))
    hook.before_train(run(train, part(root / 'val', 'val', 0.2)))
