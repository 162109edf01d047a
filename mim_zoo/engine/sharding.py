"""Weights, gradients and optimizer state sharded over the processes (FSDP2).

Checkpoints stay those of one process: full tensors, which any run loads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.device import get_device
from mmengine.dist import all_gather_object, is_main_process
from torch import Tensor, nn
from torch.optim import Optimizer

from mim_zoo.models.layers import blocks_of

try:
    from torch.distributed.fsdp import (
        FSDPModule,
        MixedPrecisionPolicy,
        fully_shard,
        register_fsdp_forward_method,
    )
    from torch.distributed.tensor import DTensor, distribute_tensor
except ImportError:  # before PyTorch 2.6
    FSDPModule = DTensor = ()  # type: ignore[assignment, misc]

NAME = 'FullyShard'
# methods beside forward that others call
ENTRIES = ('extract_feat', 'extract_block_feats')
DTYPES = {None: None, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


def shard_options(cfg: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The options for ``shard`` of a ``model_wrapper_cfg``; None if it is another."""
    options = dict(cfg or {})
    kind = str(options.pop('type', None))
    return options if kind.rpartition('.')[-1] == NAME else None


def shard(
    module: nn.Module, dtype: str | None = None, reshard_after_forward: bool = True
) -> nn.Module:
    """Shard a model over all processes, block by block; it stays the same object.

    ``model_wrapper_cfg = dict(type='mim_zoo.FullyShard')``. Each process keeps its part
    of every tensor and gathers the blocks when they are computed.

    Args:
        dtype: gather and compute in it ('bfloat16'); gradients are summed in fp32.
        reshard_after_forward: gather a block again for its backward pass; False keeps
            its full weights from forward to backward: one gather less, more memory.

    Raises ValueError for another dtype, an older PyTorch, a model without blocks, and
    one with a teacher, whose weights are brought up to date outside a forward pass.
    """
    if DTensor == ():
        raise ValueError(
            f'{NAME} needs PyTorch 2.6 or newer, got {torch.__version__}; without '
            'model_wrapper_cfg a run uses DDP'
        )
    if dtype not in DTYPES:
        raise ValueError(f'{NAME}: dtype must be one of {list(DTYPES)}, got {dtype!r}.')
    blocks = blocks_of(module)
    if not blocks:
        raise ValueError(
            f'{NAME}: {type(module).__name__} has no blocks of an encoder or decoder '
            'of mim_zoo; leave model_wrapper_cfg out to use DDP'
        )
    if has_teacher(module):
        raise ValueError(
            f'{NAME}: {type(module).__name__} has a teacher beside its encoder, which '
            'cannot be sharded; leave model_wrapper_cfg out to use DDP'
        )
    module.to(get_device())
    half = MixedPrecisionPolicy(DTYPES[dtype], torch.float32 if dtype else None)
    given: dict[str, Any] = dict(
        mesh=torch_dist.init_device_mesh(get_device(), (torch_dist.get_world_size(),)),
        reshard_after_forward=reshard_after_forward,
        mp_policy=half,
    )
    for part in [*blocks, module]:
        fully_shard(part, **given)
    _gather_for_entries(module)
    return module


def _gather_for_entries(module: nn.Module) -> None:
    """Other methods gather weights and give them back as ``forward`` does.

    Not where ``forward`` calls them, which would go on without weights.
    """
    running = 0

    def enter(*_: Any) -> None:
        nonlocal running
        running += 1

    def leave(*_: Any) -> None:
        nonlocal running
        running -= 1

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)

    def either(plain: Callable, gathering: Callable) -> Callable:
        return lambda *args, **kwargs: (plain if running else gathering)(
            *args, **kwargs
        )

    for name in ENTRIES:
        if plain := getattr(module, name, None):
            register_fsdp_forward_method(module, name)
            setattr(module, name, either(plain, getattr(module, name)))


def has_teacher(model: nn.Module) -> bool:
    """Whether a teacher is part of the model, which ``shard`` refuses."""
    return any('.teacher.' in f'.{name}.' for name, _ in model.named_modules())


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's weights are sharded over the processes."""
    return isinstance(model, FSDPModule)


def check_batches_alike(model: nn.Module, loader: Any) -> None:
    """ValueError if processes would run a sharded model on unequal numbers of batches.

    They compute every batch together, and would wait for each other. Every process
    must call.
    """
    if not is_sharded(model):
        return
    counts = all_gather_object(len(loader))
    if len(set(counts)) > 1:
        raise ValueError(
            f'{NAME}: the processes have {counts} batches to evaluate, expected equal '
            'numbers, as they compute a sharded model together; set '
            "sampler=dict(type='DefaultSampler', shuffle=False, round_up=True) for "
            'this data, or another batch_size'
        )


def has_images(model: nn.Module, batch: Any) -> bool:
    """Whether a batch has an image; ``{}`` has none that could be read.

    ValueError if it has none and the model is sharded: the others compute theirs.
    """
    if not batch and is_sharded(model):
        raise ValueError(
            f'{NAME}: a batch to evaluate has no image that can be read, and the '
            'processes compute a sharded model together; repair or remove the files '
            'that the warnings name'
        )
    return bool(batch)


def local(value: Tensor) -> Tensor:
    """This process's part of a sharded tensor; another one as it is."""
    return value.to_local() if isinstance(value, DTensor) else value


def full_tensor(value: Tensor) -> Tensor:
    """All of a sharded tensor, on every process; every process must call."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def sharded(value: Tensor, like: Tensor) -> Tensor:
    """A full tensor, the same on every process, sharded as another one is."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


@contextmanager
def full_weights(model: nn.Module, write: bool = False) -> Iterator[None]:
    """The model with full parameters in place of sharded ones; no forward meanwhile.

    With ``write`` they are there on every process, and what is written into them goes
    into the sharded ones at the end. Otherwise the first process has them, on the CPU.
    Every process must enter.
    """
    places: list[tuple[nn.Module, str, Any]] = [
        (part, name, value)
        for part in model.modules()
        for name, value in part._parameters.items()
        if isinstance(value, DTensor)
    ]
    # FSDP's own, which look for the sharded ones
    hooks = [(part, part._load_state_dict_post_hooks) for part, _, _ in places]
    for part, name, value in places:
        part._load_state_dict_post_hooks = OrderedDict()
        full = full_tensor(value.detach())
        if write or is_main_process():
            full = full if write else full.cpu()
            part._parameters[name] = nn.Parameter(full, value.requires_grad)
    try:
        yield
        if write:
            with torch.no_grad():
                for part, name, value in places:
                    value.copy_(sharded(getattr(part, name).detach(), value))
    finally:
        for part, name, value in places:
            part._parameters[name] = value
        for part, kept in hooks:
            part._load_state_dict_post_hooks = kept


@contextmanager
def full_optimizer_state(optimizers: Mapping[str, Optimizer]) -> Iterator[None]:
    """Optimizers with full state on the first process; every process must enter."""
    kept = []
    for optimizer in optimizers.values():
        for state in optimizer.state.values():
            for key, value in state.items():
                if isinstance(value, DTensor):
                    full = full_tensor(value)
                    kept.append((state, key, value))
                    state[key] = full.cpu() if is_main_process() else value
    try:
        yield
    finally:
        for state, key, value in kept:
            state[key] = value


def shard_optimizer_state(optimizers: Mapping[str, Optimizer]) -> None:
    """Shard what an optimizer has loaded as its parameters are."""
    for optimizer in optimizers.values():
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and not isinstance(value, DTensor):
                    state[key] = sharded(value, parameter)
