"""Freed memory is kept, unless somebody made settings for glibc of their own."""

import os
import platform
import subprocess
import sys

import pytest

from mim_zoo.engine import memory

CODE = """
import resource, runpy, sys

def faults_of(mebibytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(mebibytes * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = runpy.run_path(sys.argv[1])['keep_freed_memory']()
faults_of(256)
print(kept, faults_of(64))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='needs glibc')
@pytest.mark.parametrize('own', [None, *memory.OWN])
def test_memory_is_kept_unless_the_environment_says_how(own: str | None) -> None:
    env = {key: value for key, value in os.environ.items() if key not in memory.OWN}
    if own:  # what glibc does anyway
        default = {'GLIBC_TUNABLES': 'glibc.malloc.check=0', memory.OWN[2]: '65536'}
        env[own] = default.get(own, '131072')
    done = subprocess.run(
        [sys.executable, '-c', CODE, memory.__file__],
        capture_output=True,
        text=True,
        env=env,
    )
    kept, faults = done.stdout.split()
    assert kept == str(own is None), done.stderr
    assert (int(faults) < 1000) == (own is None), '64 MiB are 16,384 pages'
