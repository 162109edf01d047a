"""Committed results as a table for a page."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .names import read_name
from .words import compiled, spread

HEAD = (
    '| measured | against | times as fast | of its peak memory | machine |\n'
    '| --- | --- | --- | --- | --- |'
)


def committed_table(folder: Path, link: str) -> str:
    """A row per comparison of the JSON files in ``folder``, which ``link`` leads to.

    A file of one side alone, or of ``scaling``, compares nothing and has no row.
    """
    rows = [HEAD]
    for file in sorted(folder.glob('*.json')):
        result = json.loads(file.read_text(encoding='utf-8'))
        where = machine_words(result)
        for what, other, speed, memory in comparisons(result):
            share = '' if memory is None else f'{memory:.2f}'
            rows.append(
                f'| [{what}]({link}/{file.name}) | {other} | {spread(speed)} | {share} '
                f'| {where} |'
            )
    return '\n'.join(rows)


def comparisons(
    result: Mapping[str, Any],
) -> Iterator[tuple[str, str, Mapping[str, float], float | None]]:
    """What was measured, against what, the ratio of speeds, that of memory."""
    given = result['arguments']
    if result['command'] == 'loader':
        *ours, official = result['sides']
        for side in ours:
            words = f'loading, `{side["name"]}`, {side["batch_shape"][-1]} px'
            yield words, f'{official["name"]} pipeline', side['speed_ratio'], None
    elif 'speed_ratio' in result:
        mine, other = result['sides']
        how = [f'batch {given["batch"]}', given['dtype'], *compiled(given)]
        against = other['name']
        if against == 'other':
            against = f'`{_model(other)}`'
            if other['config'] == mine['config']:
                options, base = other['options'], mine['options']
                changed = [key for key in options if options[key] != base.get(key, '')]
                against = ', '.join(f'`{key}={options[key]}`' for key in changed)
        what = ', '.join([_kind(result), _model(mine), *how])
        yield what, against, result['speed_ratio'], result['memory_ratio']


def machine_words(result: Mapping[str, Any]) -> str:
    """The GPU or the number of cores, and PyTorch's version."""
    found = result['machine']
    where = found['gpu'] or f'{found["cores"]} CPU cores'
    return f'{where}, torch {result["versions"]["torch"].split("+")[0]}'


def _kind(result: Mapping[str, Any]) -> str:
    if result['command'] == 'step':
        return 'training step'
    there_and_back = ' and back' if result['arguments']['backward'] else ''
    size = ' x '.join(f'{n:,}' for n in result['sides'][0]['image_shape'][1:])
    return f'encoder, forward{there_and_back}, {size} px'


def _model(side: Mapping[str, Any]) -> str:
    return read_name(side['config']).model
