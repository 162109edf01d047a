"""How a classifier pools tokens: 'avg', the mean of the patches, or 'cls'.

Pooling has no weights of its own: the config that a training checkpoint holds tells it,
or what the converter noted in its file, or the user.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from mim_zoo.models.classifier import Classifier
from mim_zoo.models.encoder import POOLS, check_pool


def usual_pool(state: Mapping[str, Tensor]) -> str:
    """What official codes do with such weights (our names), and timm by default.

    The mean has a norm of its own, ``fc_norm``; else they take the class token.
    """
    cls = 'backbone.cls_token' in state and 'fc_norm.weight' not in state
    return 'cls' if cls else 'avg'


def known_pool(state: Mapping[str, Tensor], pool: str | None = None) -> str | None:
    """``pool``, or what weights of ours leave no choice about; None without either.

    None without a classifier, too. ValueError if there is no such pooling.
    """
    if 'head.weight' not in state:
        return None
    if pool is not None:
        check_pool(pool, 'backbone.cls_token' in state)
        return pool
    return 'avg' if usual_pool(state) == 'avg' else None


def pool_of(state: Mapping[str, Tensor], pool: str | None = None) -> str | None:
    """The same; ValueError if nothing says how a classifier pools."""
    found = known_pool(state, pool)
    if found is None and 'head.weight' in state:
        raise ValueError(
            'head.weight: got a classifier without fc_norm, whose weights do not tell '
            "whether it takes the class token or the patches' mean; say which (--pool "
            'cls or --pool avg), or convert the encoder alone (--backbone-only)'
        )
    return found


def check_place(state: Mapping[str, Tensor], target: str, pool: str | None) -> None:
    """ValueError if ``target`` has no classifier that pools so; timm has all."""
    if pool is None or target == 'timm' or pool == usual_pool(state):
        return
    norm = 'without' if pool == 'avg' else 'with'
    raise ValueError(
        f'{target} has no place for a classifier with pool={pool!r} {norm} fc_norm, '
        "expected the patches' mean with fc_norm or the class token without; convert "
        'to timm, or the encoder alone (--backbone-only)'
    )


def stored_pool(path: str | Path, checkpoint: Mapping[str, Any]) -> str | None:
    """What the file says in which ``checkpoint`` was; None if nothing."""
    meta = checkpoint.get('meta')
    if Path(path).suffix == '.safetensors':
        with safe_open(path, 'pt') as file:
            meta = file.metadata()
    if not isinstance(meta, Mapping):
        return None
    config = meta.get('cfg')
    pool = _pool_in(config) if isinstance(config, str) else meta.get('pool')
    return pool if pool in POOLS else None


def _pool_in(config: str) -> Any:
    """That of the model in the text of a config, which is read, not run."""
    try:
        body = ast.parse(config).body
    except SyntaxError:
        return None
    for line in body:
        if (
            isinstance(line, ast.Assign)
            and isinstance(line.value, ast.Call)
            and ast.unparse(line.targets[0]) == 'model'
        ):
            values = {k.arg: k.value for k in line.value.keywords}
            said = {
                k: v.value for k, v in values.items() if isinstance(v, ast.Constant)
            }
            ours = str(said.get('type')).rpartition('.')[2] == Classifier.__name__
            default = signature(Classifier).parameters['pool'].default
            return said.get('pool', default if ours else None)
    return None
