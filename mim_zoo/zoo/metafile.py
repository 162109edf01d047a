"""Results as a metafile of OpenMMLab's model index."""

from typing import Any

import torch
import yaml
from mmengine.registry import init_default_scope

from mim_zoo.cli import find_config
from mim_zoo.paths import read_config
from mim_zoo.registry import MODELS, SCOPE

from .plan import PRETRAIN
from .rows import Row, Size
from .tables import Results, columns_of, mean_of

COLLECTION = {
    'Name': 'CIFAR-10',
    'Metadata': {'Training Data': 'CIFAR-10'},
    'README': 'configs/cifar10/README.md',
    'Code': {'URL': 'mim_zoo/zoo/rows.py'},
}
HEAD = '# Written by tools/run_zoo.py report from the files in benchmarks/zoo.\n'


def metafile(sizes: dict[str, tuple[Size, Results]]) -> str:
    """The file: an entry per pre-training config that was run as it is."""
    models = [
        _entry(size, row, results)
        for size, results in sizes.values()
        for row in size.rows
        if row.pretrain and _as_it_is(row, results)
    ]
    content = {'Collections': [COLLECTION], 'Models': models}
    return HEAD + yaml.safe_dump(content, sort_keys=False)


def _as_it_is(row: Row, results: Results) -> bool:
    """Whether the row was pre-trained, for as many epochs as its config says."""
    assert row.pretrain
    epochs = read_config(find_config(row.pretrain)).train_cfg.max_epochs
    runs = [
        r['steps'][PRETRAIN]
        for r in results.get(row.name, ())
        if PRETRAIN in r['steps']
    ]
    return bool(runs) and all(
        run['facts']['options']['train_cfg.max_epochs'] == epochs
        and not run['facts']['more']
        for run in runs
    )


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
        if (mean := mean_of(values)) is not None:
            metrics[name] = round(mean, 1)
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
