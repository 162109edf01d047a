"""Results of a size as tables of a page; figures in percent over the seeds."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from .plan import CORRUPTED, PRETRAIN
from .rows import Row, Size

Result = Mapping[str, Any]
Results = Mapping[str, Sequence[Result]]


def found_in(result: Result, step: str) -> Mapping[str, Any]:
    """What a step of a row and seed gave; empty if it was not run."""
    return result['steps'].get(step, {}).get('found', {})


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of what is known."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def over_seeds(values: Iterable[float | None]) -> str:
    """The mean, and with several seeds from the least to the most; '-' without any."""
    known = [value for value in values if value is not None]
    if not known:
        return '-'
    mean = f'{fmean(known):.1f}'
    if len(known) == 1:
        return mean
    return f'{mean} ({min(known):.1f} to {max(known):.1f})'


def columns_of(size: Size, row: Row, results: Results) -> dict[str, list[float | None]]:
    """{column: percent by seed}: frozen features, fine-tuning, corruptions.

    From scratch, the frozen features are those of the untrained encoder.
    """
    mine = results.get(row.name, ())
    frozen = [found_in(result, PRETRAIN).get('trained', {}) for result in mine]
    if row.pretrain is None:
        frozen = _untrained(size, row, results)
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
    width = max((len(row) for row in rows), default=1)
    head = ['method', *(str(n) for n in range(1, width))]
    padded = [[*row, *[''] * (width - len(row))] for row in rows]
    return '\n'.join([*_head(head), *map(_line, padded)])


def curve_table(size: Size, results: Results, metric: str = 'linear_top1') -> str:
    """A metric of every evaluation of pre-training, the mean over seeds."""
    curves = {row.title: curve(results.get(row.name, ()), metric) for row in size.rows}
    curves = {title: points for title, points in curves.items() if points}
    seen = sorted({images for points in curves.values() for images, _ in points})
    lines = _head(['images seen', *(f'{images:,}' for images in seen)])
    for title, points in curves.items():
        known = dict(points)
        cells = [f'{known[images]:.1f}' if images in known else '' for images in seen]
        lines.append(_line([title, *cells]))
    return '\n'.join(lines)


def curve(results: Sequence[Result], metric: str) -> list[tuple[int, float]]:
    """(images seen, percent) of the evaluations, the mean over seeds."""
    values: dict[int, list[float]] = {}
    for result in results:
        for point in found_in(result, PRETRAIN).get('evaluations', ()):
            if metric in point:
                values.setdefault(point['images_seen'], []).append(100 * point[metric])
    return [(images, fmean(found)) for images, found in sorted(values.items())]


def fusion_table(size: Size, results: Results) -> str:
    """The share of each fused block in MFF's fusion at every evaluation, in percent."""
    prefix = 'fusion_'
    lines: list[str] = []
    for row in size.rows:
        mine = results.get(row.name, ())
        points = [p for r in mine for p in found_in(r, PRETRAIN).get('evaluations', ())]
        names = sorted(
            {name for point in points for name in point if name.startswith(prefix)}
        )
        if not names:
            continue
        seen = [images for images, _ in curve(mine, names[0])]
        lines = lines or _head(['method, block', *(f'{images:,}' for images in seen)])
        for name in names:
            cells = [f'{value:.1f}' for _, value in curve(mine, name)]
            lines.append(_line([f'{row.title}, {name.removeprefix(prefix)}', *cells]))
    return '\n'.join(lines)


def _untrained(size: Size, row: Row, results: Results) -> list[Mapping[str, Any]]:
    """Of the first row that knows them: rows of an encoder begin equal."""
    for other in size.rows:
        if other.encoder == row.encoder:
            mine = results.get(other.name, ())
            found = [found_in(result, PRETRAIN).get('untrained', {}) for result in mine]
            if any(found):
                return found
    return []


def _percent(metrics: Mapping[str, float], name: str) -> float | None:
    return 100 * metrics[name] if name in metrics else None


def _head(names: Sequence[str]) -> list[str]:
    return [_line(names), _line(['---'] * len(names))]


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
