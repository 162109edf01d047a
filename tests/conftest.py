"""Every test starts as a new process would."""

from collections.abc import Iterator

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def no_default_scope() -> Iterator[None]:
    """A runner leaves its scope behind, in which a later test would look types up."""
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()
