"""Batches without the images that could not be read."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate

from mim_zoo.registry import FUNCTIONS

from .encoded import EncodedBatch, EncodedCrop


@FUNCTIONS.register_module()
def collate_readable(items: Sequence[dict | list[dict] | None]) -> dict[str, Any]:
    """Stack what ``PackInputs`` made, leaving out None; nothing left gives ``{}``.

    Images (B, C, H, W) stay as they are in files, the channels last in memory. With a
    JPEG among them, ``EncodedCrop``, they are an ``EncodedBatch``, for the device.

    Raises ValueError naming two files if their images differ in shape or dtype.
    """
    kept = list(_single(items))
    if not kept:
        return {}
    first = kept[0]
    for item in kept[1:]:
        if _kind(item) != _kind(first):
            fix = (
                'end the pipeline with a crop to a fixed size, and let '
                "LoadImage(channels='RGB' or 'grey') settle the channel count"
            )
            if _kind(item)[0] == _kind(first)[0]:
                fix = (
                    'keep files of 8 bits (uint8) and deeper ones (float32) in folders '
                    'of their own: convert or move the odd one'
                )
            raise ValueError(
                'The images of a batch must have one shape and dtype, got '
                f'{_kind(first)} from {first["img_path"]} and {_kind(item)} from '
                f'{item["img_path"]}. Fix: {fix}.'
            )
    batch = default_collate([{**item, 'inputs': 0} for item in kept])
    if any(isinstance(item['inputs'], EncodedCrop) for item in kept):
        return {**batch, 'inputs': EncodedBatch.of([i['inputs'] for i in kept])}
    pixels = [item['inputs'].permute(1, 2, 0) for item in kept]  # (H, W, C) in memory
    return {**batch, 'inputs': default_collate(pixels).permute(0, 3, 1, 2)}


def _single(items: Sequence[dict | list[dict] | None]) -> Iterator[dict]:
    for item in items:
        if isinstance(item, list):  # RepeatedDraws
            yield from item
        elif item is not None:
            yield item


def _kind(item: dict) -> tuple[tuple[int, ...], torch.dtype]:
    if isinstance(item['inputs'], EncodedCrop):
        return (3, *item['inputs'].crop.size), torch.uint8
    return tuple(item['inputs'].shape), item['inputs'].dtype
