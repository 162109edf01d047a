"""What a file says beside its weights: how it pools, and the pixels it was trained on.

Training checkpoints hold their whole config as text, which is read, never run. Files of
the converter hold notes of what their source said.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from mim_zoo.models.classifier import Classifier
from mim_zoo.models.encoder import POOLS
from mim_zoo.models.units import IMAGENET_MEAN, IMAGENET_STD, Statistics

# of mmdet and mmseg
_BGR_BY_DEFAULT = ('DetDataPreprocessor', 'SegDataPreProcessor')
# what reading a text that is no config may end in
_BROKEN = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)


def stored_pool(path: str | Path, checkpoint: Mapping[str, Any]) -> str | None:
    """How the classifier in a file pools, None if nothing says it."""
    meta = _meta(path, checkpoint)
    pool = meta.get('pool')
    if 'cfg' in meta:
        model = _model_in(meta['cfg'])
        ours = str(model.get('type')).rpartition('.')[2] == Classifier.__name__
        default = signature(Classifier).parameters['pool'].default
        pool = model.get('pool', default if ours else None)
    return pool if pool in POOLS else None


def stored_statistics(
    path: str | Path, checkpoint: Mapping[str, Any]
) -> Statistics | None:
    """Mean and std per channel of the pixels that a file was trained on.

    RGB, in the units of the images. None if it does not say them, as where they are
    ours by default, ImageNet's, and if a detector or segmenter has BGR.
    """
    meta = _meta(path, checkpoint)
    said = _model_in(meta['cfg']).get('data_preprocessor') if 'cfg' in meta else meta
    if not isinstance(said, Mapping) or not {'mean', 'std'} & said.keys():
        return None
    kind = str(said.get('type', '')).rpartition('.')[2]
    if kind in _BGR_BY_DEFAULT and not said.get('bgr_to_rgb'):
        return None
    mean = _numbers(said.get('mean', IMAGENET_MEAN))
    std = _numbers(said.get('std', IMAGENET_STD))
    return (mean, std) if mean and std else None


def as_notes(pool: str | None, statistics: Statistics | None) -> dict[str, str]:
    """What ``stored_pool`` and ``stored_statistics`` read again, as text."""
    notes = {'pool': pool} if pool else {}
    if statistics:
        notes.update(mean=str(list(statistics[0])), std=str(list(statistics[1])))
    return notes


def _meta(path: str | Path, checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    if Path(path).suffix == '.safetensors':
        with safe_open(path, 'pt') as file:
            return file.metadata() or {}
    meta = checkpoint.get('meta')
    return meta if isinstance(meta, Mapping) else {}


def _numbers(said: Any) -> list[float]:
    """One or several, also as text; none if it says anything else."""
    try:
        found = ast.literal_eval(said) if isinstance(said, str) else said
        return [float(x) for x in np.ravel(found)]
    except _BROKEN:
        return []


def _model_in(config: Any) -> dict[str, Any]:
    """The arguments of the model in a config's text that are plain values."""
    try:
        body = ast.parse(config).body if isinstance(config, str) else []
    except _BROKEN:
        return {}
    for line in body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == 'model':
            found = _value(line.value)
            return found if isinstance(found, dict) else {}
    return {}


def _value(node: ast.expr) -> Any:
    """A literal, or a call of ``dict`` with those; None for the rest."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        return {k.arg: _value(k.value) for k in node.keywords if k.arg}
    try:
        return ast.literal_eval(node)
    except _BROKEN:
        return None
