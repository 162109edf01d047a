"""Results as a metafile of OpenMMLab's model index."""

from statistics import fmean
from typing import Any

import torch
import yaml
from mmengine.registry import init_default_scope

from mim_zoo.cli import find_config
from mim_zoo.paths import read_config
from mim_zoo.registry import MODELS, SCOPE

from .plan import PRETRAIN
from .results import Results
from .rows import Row, Size
from .tables import columns_of, found_in

COLLECTION = {
    'Name': 'CIFAR-10',
    'Metadata': {'Training Data': 'CIFAR-10'},
    'README': 'configs/cifar10/README.md',
    'Code': {'URL': 'mim_zoo/zoo/rows.py'},
}
HEAD = '# Written by tools/run_zoo.py report from the files in benchmarks/zoo.\n'


def metafile(sizes: dict[str, tuple[Size, Results]]) -> str:
    """The file: an entry per pre-training config that was run."""
    models = [
        _entry(size, row, results)
        for size, results in sizes.values()
        for row in size.rows
        if any(found_in(result, PRETRAIN) for result in results.get(row.name, ()))
    ]
    content = {'Collections': [COLLECTION], 'Models': models}
    return HEAD + yaml.safe_dump(content, sort_keys=False)


def _entry(size: Size, row: Row, results: Results) -> dict[str, Any]:
    assert row.pretrain
    path = find_config(row.pretrain)
    cfg = read_config(path)
    init_default_scope(SCOPE)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    own = [p for name, p in model.named_parameters() if '.target.' not in name]
    metrics = {}
    for name, values in columns_of(size, row, results).items():
        if known := [value for value in values if value is not None]:
            metrics[name] = round(fmean(known), 1)
    return {
        'Name': row.pretrain,
        'In Collection': COLLECTION['Name'],
        'Config': f'configs/cifar10/{path.name}',
        'Metadata': {
            'Epochs': cfg.train_cfg.max_epochs,
            'Batch Size': cfg.auto_scale_lr.base_batch_size,
            'Parameters': sum(p.numel() for p in own),
            'Training Data': 'CIFAR-10',
        },
        'Task': 'Self-supervised learning',
        'Results': [
            {'Task': 'Image Classification', 'Dataset': 'CIFAR-10', 'Metrics': metrics}
        ],
        'Weights': None,
    }
