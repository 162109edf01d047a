from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.visualization import Visualizer
from shrink import draw, shrink

if not (find_spec('mmdet') and find_spec('mmseg')):
    collect_ignore_glob = ['test_[!m]*.py']  # what is left needs neither


@pytest.fixture(scope='session')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp('data') / 'shapes')


@pytest.fixture
def shrunk(data: Path, tmp_path: Path):
    def load(path: Path | str) -> Config:
        return shrink(Config.fromfile(path), data, tmp_path)

    return load


@pytest.fixture(autouse=True)
def fresh_singletons():
    """A visualizer or logger of an earlier run writes into that run's folder."""
    yield
    for kind in (Visualizer, MMLogger):
        kind._instance_dict.clear()
