"""What ``scaling`` found, as a table and as curves."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.table import Table

from .words import compiled, device_name, or_dash

AXIS_LABELS = {
    'batch': 'images at once',
    'image-size': 'side of an image, px',
    'depth': "blocks of the encoder (of a hierarchy's longest stage)",
    'processes': 'processes',
}


def show_points(result: dict[str, Any], console: Console | None = None) -> None:
    """Print a line per point; ``times`` is its images/s over that of the first."""
    console = console or Console()
    given = result['arguments']
    words = ['training step', result['config'], given['dtype']]
    words += [f'batch {given["batch"]}'] if result['axis'] != 'batch' else []
    title = ', '.join([*words, *compiled(given), device_name(result['machine'])])
    table = Table(box=box.SIMPLE, title=title, title_justify='left')
    for name in (result['axis'], 'ms', 'images/s', 'times', 'peak MiB', 'GFLOPs/img'):
        table.add_column(name, justify='right', no_wrap=True)
    if any(point['mfu'] for point in result['points']):
        table.add_column('MFU', justify='right')
    first = result['points'][0]['images_per_second']
    for point in result['points']:
        rate, (fastest, slowest) = point['images_per_second'], _range(point)
        table.add_row(
            str(point['value']),
            f'{point["ms_per_step"]:,.1f} ({fastest:,.1f} to {slowest:,.1f})',
            f'{rate:,.2f}',
            f'{rate / first:.2f}',
            or_dash(point['memory']['peak_mib'], ',.0f'),
            f'{point["gflops_per_image"]:.1f}',
            *([f'{point["mfu"]:.1%}'] if point['mfu'] else []),
        )
    console.print(table)
    console.print(
        f'images/s: of all processes; peak MiB: of one, {result["memory_meaning"]}',
        soft_wrap=True,
    )


def plot_points(result: dict[str, Any], file: str | Path) -> None:
    """Draw throughput (median, and from the slowest to the fastest) and memory."""
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    speed, memory = figure.subplots(1, 2)
    points = result['points']
    values = [point['value'] for point in points]
    rates = [point['images_per_second'] for point in points]
    # images/s of the slowest and of the fastest time
    ends = [[1e3 * p['batch'] / ms for ms in _range(p)] for p in points]
    below = [rate - slow for rate, (_, slow) in zip(rates, ends)]
    above = [fast - rate for rate, (fast, _) in zip(rates, ends)]
    speed.errorbar(values, rates, yerr=[below, above], marker='o', capsize=3)
    memory.plot(values, [p['memory']['peak_mib'] for p in points], marker='o')
    _label(speed, result['axis'], values, 'images/s, all processes')
    _label(memory, result['axis'], values, 'peak MiB of a process')
    figure.suptitle(f'{result["config"]}, {device_name(result["machine"])}', fontsize=9)
    figure.savefig(file, dpi=150)


def _label(axes: Axes, axis: str, values: list[int], what: str) -> None:
    axes.set_xlabel(AXIS_LABELS[axis])
    axes.set_ylabel(what)
    axes.set_xticks(values)
    axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.grid(alpha=0.3)


def _range(point: dict[str, Any]) -> tuple[float, float]:
    """Milliseconds of the fastest and the slowest timing."""
    return 1e3 * min(point['seconds']), 1e3 * max(point['seconds'])
