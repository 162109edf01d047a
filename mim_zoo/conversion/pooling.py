"""How a classifier pools tokens: 'avg', the mean of the patches, or 'cls'.

Pooling has no weights of its own: the file tells it (``stored``), or the user.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mim_zoo.models.encoder import check_pool


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
