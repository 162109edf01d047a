"""glibc's settings are this process's affair unless somebody made them."""

import os
import subprocess
import sys

import pytest

CODE = 'from mim_zoo.engine.memory import keep_freed_memory; print(keep_freed_memory())'
OWN = 'MALLOC_TRIM_THRESHOLD_'


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs Linux')
@pytest.mark.parametrize('own', [None, '1000000'])
def test_settings_of_the_environment_stay(own: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if 'MALLOC' not in key}
    env.pop('GLIBC_TUNABLES', None)
    if own:
        env[OWN] = own
    done = subprocess.run(
        [sys.executable, '-c', CODE], capture_output=True, text=True, env=env
    )
    assert done.stdout.strip() == str(own is None), done.stderr
