"""Few labels: a share of the images of every class."""

import os
from hashlib import blake2b

from mmengine.dataset import BaseDataset

from mim_zoo.registry import DATASETS


@DATASETS.register_module()
def ClassShare(dataset: dict, share: float, seed: int = 0) -> BaseDataset:
    """The given share of every class's images, rounded, at least one.

    Which ones is a function of ``seed`` and each image's path below the data set's
    root. ValueError for a share outside (0, 1] and for a data set without labels.
    """
    if not 0 < share <= 1:
        raise ValueError(f'ClassShare: got share={share}, expected 0 < share <= 1')
    built = DATASETS.build(dataset)
    root = str(getattr(built, 'root', ''))
    by_class: dict[int, list[tuple[bytes, str, int]]] = {}
    for i in range(len(built)):
        info = built.get_data_info(i)
        if info.get('gt_label') is None:
            raise ValueError(
                f'ClassShare: {info["img_path"]} has no label, expected one of every '
                'image; use a labelled data set (ImageFolder with_label=True)'
            )
        path = info['img_path'].removeprefix(root)
        order = blake2b(os.fsencode(f'{seed} {path}'), digest_size=8).digest()
        by_class.setdefault(info['gt_label'], []).append((order, path, i))
    chosen = [
        i
        for images in by_class.values()
        for *_, i in sorted(images)[: max(1, round(share * len(images)))]
    ]
    return built.get_subset(sorted(chosen))
