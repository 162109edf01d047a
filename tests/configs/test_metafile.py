import math
import re

import pytest
import torch
import yaml
from config_files import CONFIGS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mim_zoo.registry import MODELS

ROOT = CONFIGS.parent
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
FILES = {path: yaml.safe_load((ROOT / path).read_text()) for path in INDEX}
MODELS_LISTED = [model for file in FILES.values() for model in file['Models']]


def test_every_metafile_is_in_the_index():
    found = {str(p.relative_to(ROOT)) for p in CONFIGS.rglob('metafile.yml')}
    assert found == set(INDEX)


def test_paths_and_names_exist():
    names = {model['Name'] for model in MODELS_LISTED}
    assert len(names) == len(MODELS_LISTED)
    for file in FILES.values():
        collections = {c['Name'] for c in file['Collections']}
        for collection in file['Collections']:
            assert (ROOT / collection['README']).is_file()
            assert (ROOT / collection['Code']['URL']).is_file()
        for model in file['Models']:
            assert (ROOT / model['Config']).is_file()
            assert model['Config'].endswith(f'/{model["Name"]}.py')
            assert model['In Collection'] in collections
            assert set(model.get('Downstream', ())) <= names


@pytest.mark.parametrize('entry', MODELS_LISTED, ids=lambda entry: entry['Name'])
def test_numbers_are_those_of_the_config(entry):
    cfg = Config.fromfile(ROOT / entry['Config'])
    init_default_scope('mim_zoo')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    facts = entry['Metadata']
    own = [p for name, p in model.named_parameters() if '.target.' not in name]
    assert sum(p.numel() for p in own) == facts['Parameters']
    assert cfg.train_cfg.max_epochs == facts['Epochs']
    gpus, per_gpu = map(int, re.search(r'(\d+)xb(\d+)', entry['Name']).groups())
    steps = cfg.optim_wrapper.get('accumulative_counts', 1)
    assert cfg.train_dataloader.batch_size == per_gpu
    assert math.prod((gpus, per_gpu, steps)) == facts['Batch Size']
    assert cfg.auto_scale_lr.base_batch_size == facts['Batch Size']


def test_readme_links_exist():
    for path in INDEX:
        folder = (ROOT / path).parent
        links = re.findall(r'\]\(([^)#:]+)\)', (folder / 'README.md').read_text())
        assert links
        assert [link for link in links if not (folder / link).exists()] == []
