"""A config of a toy model, in a folder of its own."""

import re
from pathlib import Path

import pytest
from measuring import write

from mim_zoo.benchmark import Side, our_side

ROOT = Path(__file__).resolve().parents[2]

TOY = """
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch.utils.data import Dataset
from mim_zoo.registry import DATASETS, METRICS, MODELS


@DATASETS.register_module()
class ToyData(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, index):
        return {'inputs': torch.full((3,), index / 16), 'sample_idx': int(index)}


@MODELS.register_module()
class ToyNet(BaseModel):
    def __init__(self, width=3, bias=True, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.linear = torch.nn.Linear(width, 1, bias=bias)

    def forward(self, inputs, sample_idx, mode='loss'):
        error = (self.linear(inputs) - inputs.sum(1, keepdim=True)).square()
        if mode == 'loss':
            return {'loss': error.mean()}
        return [{'error': value} for value in error]


@METRICS.register_module()
class ToyError(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(sample['error']) for sample in data_samples]

    def compute_metrics(self, results):
        return {'error': sum(results) / len(results), 'images': len(results)}
"""

CONFIG = """
_base_ = [{runtime!r}]
custom_imports = dict(imports=['{module}'])
model = dict(type='ToyNet', bias=True)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='ToyData'),
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='EpochSampler', shuffle=True))
train_cfg = dict(type='EpochTrainLoop', max_epochs=2)
test_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='ToyData'),
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_cfg = dict()
test_evaluator = dict(type='ToyError')
auto_scale_lr = dict(enable=False, base_batch_size=4)
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Path:
    """A config in a folder of its own, which is also where the commands run."""
    module = f'toy_{re.sub("[^a-z0-9]", "_", tmp_path.name.lower())}'
    (tmp_path / f'{module}.py').write_text(TOY.replace('Toy', module.title()))
    runtime = str(ROOT / 'configs' / '_base_' / 'default_runtime.py')
    text = CONFIG.format(runtime=runtime, module=module)
    path = tmp_path / 'toy.py'
    path.write_text(re.sub(r"'Toy(\w+)'", rf"'{module.title()}\1'", text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return path


@pytest.fixture
def side(tmp_path) -> Side:
    return our_side(str(write(tmp_path, 'one', depth=1)), {})
