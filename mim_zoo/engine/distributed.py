"""Distributed training on machines without an accelerator.

MMEngine's ``init_dist`` wants a CUDA device and its DDP wrapper names one. Both are
skipped if the process group exists, and ``device_ids=None`` is given, beforehand.
"""

from __future__ import annotations

import atexit
import os
import sys
from datetime import timedelta
from typing import Any

import torch.distributed as torch_dist
from mmengine.device import get_device
from mmengine.registry import MODEL_WRAPPERS
from torch.nn.parallel import DistributedDataParallel

_TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')


def on_cpu() -> bool:
    """Whether this process trains without an accelerator."""
    return get_device() == 'cpu'


def init_gloo(launcher: str, timeout: float | None = None) -> None:
    """Join the process group that torchrun describes; ``timeout`` in seconds."""
    if launcher != 'pytorch':
        raise ValueError(
            f"launcher='{launcher}' needs a GPU, and none was found here; start with "
            'torchrun and --launcher pytorch (tools/dist_train.sh) to train on CPUs.'
        )
    if missing := [name for name in _TORCHRUN if name not in os.environ]:
        raise ValueError(
            f"launcher='pytorch' expects torchrun's variables, but {missing} are not "
            'set; start with torchrun (tools/dist_train.sh), or use --launcher none.'
        )
    limit = None if timeout is None else timedelta(seconds=timeout)
    torch_dist.init_process_group('gloo', timeout=limit)


def end_together() -> None:
    """Wait for the other processes; on CPUs, end this one as its last statement.

    A thread of gloo's may still have to let go of a Python object of the last
    collective, which aborts the process if the interpreter is being finalised
    meanwhile: exit handlers are run and the finalisation is skipped. Without a process
    group nothing happens.
    """
    if not (torch_dist.is_available() and torch_dist.is_initialized()):
        return
    by_gloo = torch_dist.get_backend() == 'gloo'
    torch_dist.barrier()
    torch_dist.destroy_process_group()
    if by_gloo:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def cpu_wrapper_cfg(
    cfg: dict[str, Any] | None, find_unused_parameters: bool = False
) -> dict[str, Any]:
    """The wrapper's config with no device named, as DDP on CPUs needs it."""
    if cfg is None:
        cfg = {
            'broadcast_buffers': False,
            'find_unused_parameters': find_unused_parameters,
        }
    cfg = {'type': 'MMDistributedDataParallel', **cfg}
    kind = cfg['type']
    kind = MODEL_WRAPPERS.get(kind) if isinstance(kind, str) else kind
    if isinstance(kind, type) and issubclass(kind, DistributedDataParallel):
        cfg['device_ids'] = None
    return cfg
