"""Accuracy while pre-training, drawn."""

from pathlib import Path

from matplotlib.figure import Figure

from mim_zoo.paths import whole_file

from .results import Results
from .rows import Size
from .tables import curve, flops_of

LABELS = {'linear_top1': 'linear probe, %', 'knn_top1': 'kNN, %'}


def plot_curves(
    size: Size, results: Results, file: Path, metric: str = 'linear_top1'
) -> None:
    """Draw a metric against images seen and against operations spent."""
    figure = Figure(figsize=(9, 4), layout='constrained')
    by_images, by_flops = figure.subplots(1, 2, sharey=True)
    for row in size.rows:
        mine = results.get(row.name, ())
        points = curve(mine, metric)
        flops = flops_of(mine)
        if not points or flops is None:
            continue
        images, values = zip(*points)
        style = '--' if row.encoder == 'MixMIM' else '-'
        by_images.plot(images, values, style, marker='.', label=row.title)
        by_flops.plot([n * flops for n in images], values, style, marker='.')
    by_images.set_xlabel('images seen')
    by_flops.set_xlabel('FLOPs of pre-training')
    by_images.set_ylabel(LABELS.get(metric, metric))
    for axes in (by_images, by_flops):
        axes.grid(alpha=0.3)
    figure.legend(loc='outside right upper', fontsize=8)
    with whole_file(file) as temporary:
        figure.savefig(temporary, dpi=120, format=file.suffix[1:])
