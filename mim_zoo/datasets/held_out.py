"""Hold part of a data set out, for folders that come without a validation part."""

import os
from zlib import crc32

from mmengine.dataset import BaseDataset

from mim_zoo.registry import DATASETS

BUCKETS = 10_000


@DATASETS.register_module()
def HeldOutSplit(dataset: dict, split: str, share: float = 0.05) -> BaseDataset:
    """The 'train' or the 'val' part of a data set, chosen by each image's path.

    An image stays in its part when others come or go, or the folder moves; ``share``
    of all images is held out on average, ``held_out_share`` of the part. ValueError
    when a part would be empty.
    """
    if split not in ('train', 'val') or not 0 < share < 1:
        raise ValueError(
            f"HeldOutSplit: got split={split!r}, share={share}, expected 'train' or "
            "'val' and 0 < share < 1"
        )
    built = DATASETS.build(dataset)
    root = str(getattr(built, 'root', ''))
    paths = [built.get_data_info(i)['img_path'] for i in range(len(built))]
    held_out = [
        crc32(os.fsencode(path.removeprefix(root))) % BUCKETS < share * BUCKETS
        for path in paths
    ]
    chosen = [i for i, held in enumerate(held_out) if held == (split == 'val')]
    if not chosen:
        raise ValueError(
            f'HeldOutSplit: no image of {len(paths)} is left for split={split!r} at '
            f'share={share}; add images, or take another share, the same in the train, '
            'val and test dataloaders'
        )
    part = built.get_subset(chosen)
    part.held_out_share = share
    return part
