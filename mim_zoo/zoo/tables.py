"""Results of a size as tables of a page; figures in percent over the seeds."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from .plan import CORRUPTED, PRETRAIN
from .results import Result, Results
from .rows import Row, Size


def found_in(result: Result, step: str) -> Mapping[str, Any]:
    """What a step of a row and seed gave; empty if it was not run."""
    return result['steps'].get(step, {}).get('found', {})


def over_seeds(values: Sequence[float | None]) -> str:
    """The mean, and with several seeds from the least to the most; '-' without any.

    Says of how many seeds, where some have no value.
    """
    known = [value for value in values if value is not None]
    if not known:
        return '-'
    mean = f'{fmean(known):.1f}'
    if len(known) == 1 == len(values):
        return mean
    spread = [f'{min(known):.1f} to {max(known):.1f}'] if len(known) > 1 else []
    partly = [f'n = {len(known)}'] if len(known) < len(values) else []
    return f'{mean} ({", ".join([*spread, *partly])})'


def columns_of(size: Size, row: Row, results: Results) -> dict[str, list[float | None]]:
    """{column: percent by seed}: frozen features, fine-tuning, corruptions.

    From scratch, the frozen features are those of the untrained encoder.
    """
    mine = results.get(row.name, ())
    frozen = [found_in(result, PRETRAIN).get('trained', {}) for result in mine]
    if row.pretrain is None:
        frozen = _untrained(size, row, results, [result['seed'] for result in mine])
    columns = {
        'kNN': [_percent(found, 'knn_top1') for found in frozen],
        'linear probe': [_percent(found, 'linear_top1') for found in frozen],
    }
    for tuning in size.tunings:
        tuned = [found_in(result, tuning.name) for result in mine]
        name = f'{100 * tuning.share:g}% of the labels'
        columns[name] = [found.get('accuracy/top1') for found in tuned]
    corrupted = [found_in(result, CORRUPTED) for result in mine]
    columns['error, corrupted'] = [found.get('mCE_plain') for found in corrupted]
    return columns


def main_table(size: Size, results: Results) -> str:
    """A row per method: its cost, then ``columns_of`` it over the seeds."""
    lines: list[str] = []
    for row in size.rows:
        mine = results.get(row.name, ())
        if not mine:
            continue
        columns = columns_of(size, row, results)
        lines = lines or _head(['method', 'GFLOPs/img', 'seeds', *columns])
        flops = flops_of(mine)
        cost = '-' if flops is None else f'{flops / 1e9:.3f}'
        cells = [over_seeds(values) for values in columns.values()]
        lines.append(_line([row.title, cost, str(len(mine)), *cells]))
    return '\n'.join(lines)


def flops_of(results: Sequence[Result]) -> float | None:
    """Of pre-training, of one image; None from scratch."""
    return next((r['flops_per_image'] for r in results if r['flops_per_image']), None)


def layer_table(size: Size, results: Results) -> str:
    """Linear probe after every block, the mean over seeds; the best one in bold."""
    prefix = 'linear_top1_block'
    rows = []
    for row in size.rows:
        found = [
            found_in(r, PRETRAIN).get('trained', {}) for r in results.get(row.name, ())
        ]
        names = sorted(
            {name for one in found for name in one if name.startswith(prefix)}
        )
        means = [
            100 * fmean(one[name] for one in found if name in one) for name in names
        ]
        if means:
            cells = [f'**{m:.1f}**' if m == max(means) else f'{m:.1f}' for m in means]
            rows.append([row.title, *cells])
    if not rows:
        return ''
    width = max(len(row) for row in rows)
    head = ['method', *(str(n) for n in range(1, width))]
    padded = [[*row, *[''] * (width - len(row))] for row in rows]
    return '\n'.join([*_head(head), *map(_line, padded)])


def curve_table(size: Size, results: Results, metric: str = 'linear_top1') -> str:
    """A metric of every evaluation of pre-training, the mean over seeds."""
    curves = {row.title: curve(results.get(row.name, ()), metric) for row in size.rows}
    known = {title: points for title, points in curves.items() if points}
    return _curves('images seen', known)


def curve(results: Sequence[Result], metric: str) -> list[tuple[int, float]]:
    """(images seen, percent) of the evaluations, the mean over seeds."""
    values: dict[int, list[float]] = {}
    for result in results:
        for point in found_in(result, PRETRAIN).get('evaluations', ()):
            if metric in point:
                values.setdefault(point['images_seen'], []).append(100 * point[metric])
    return [(images, fmean(found)) for images, found in sorted(values.items())]


def fusion_table(size: Size, results: Results) -> str:
    """The share of each fused level in MFF's sum at every evaluation, in percent."""
    prefix = 'fusion_weight_'
    curves = {}
    for row in size.rows:
        mine = results.get(row.name, ())
        points = [p for r in mine for p in found_in(r, PRETRAIN).get('evaluations', ())]
        names = {name for point in points for name in point if name.startswith(prefix)}
        for name in sorted(names):
            level = f'{row.title}, level {name.removeprefix(prefix)}'
            curves[level] = curve(mine, name)
    return _curves('method, level', curves)


def _curves(first: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    """A row per curve, a column per number of images; '' without a curve."""
    if not curves:
        return ''
    seen = sorted({images for points in curves.values() for images, _ in points})
    lines = _head([first, *(f'{images:,}' for images in seen)])
    for title, points in curves.items():
        known = dict(points)
        cells = [f'{known[images]:.1f}' if images in known else '' for images in seen]
        lines.append(_line([title, *cells]))
    return '\n'.join(lines)


def _untrained(
    size: Size, row: Row, results: Results, seeds: Sequence[int]
) -> list[Mapping[str, Any]]:
    """By seed, of any row that knows it: rows of an encoder begin equal."""
    known: dict[int, Mapping[str, Any]] = {}
    for other in size.rows:
        if other.encoder == row.encoder:
            for result in results.get(other.name, ()):
                if found := found_in(result, PRETRAIN).get('untrained'):
                    known.setdefault(result['seed'], found)
    return [known.get(seed, {}) for seed in seeds]


def _percent(metrics: Mapping[str, float], name: str) -> float | None:
    return 100 * metrics[name] if name in metrics else None


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), _line(['---'] * len(names))]


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
