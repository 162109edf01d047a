#!/usr/bin/env python
"""Compare all methods on CIFAR-10: pre-train, probe, fine-tune, corrupt, report.

python tools/run_zoo.py run --data-root CIFAR10 --size micro --jobs 2 --threads 1
python tools/run_zoo.py run --data-root CIFAR10 --rows mae mff --steps pretrain
python tools/run_zoo.py report

``run`` goes on from where it was stopped; each finished step is written into a JSON
file of its row and seed. ``report`` writes README's table, docs/zoo.md, the plots and
the metafile from these.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo import cli  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402
from mim_zoo.pages import fill_file  # noqa: E402
from mim_zoo.zoo.curves import plot_curves  # noqa: E402
from mim_zoo.zoo.metafile import metafile  # noqa: E402
from mim_zoo.zoo.plan import Budget, Plan, Step, plan_row  # noqa: E402
from mim_zoo.zoo.results import add_step, read_results  # noqa: E402
from mim_zoo.zoo.rows import SIZES  # noqa: E402
from mim_zoo.zoo.running import Runs, alone  # noqa: E402
from mim_zoo.zoo.tables import (  # noqa: E402
    curve_table,
    fusion_table,
    layer_table,
    main_table,
)

RESULTS = ROOT / 'benchmarks' / 'zoo'
README, PAGE = ROOT / 'README.md', ROOT / 'docs' / 'zoo.md'
METAFILE = ROOT / 'configs' / 'cifar10' / 'metafile.yml'
PLOTS = ROOT / 'resources'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)
    run = commands.add_parser('run', help='run what is not done yet')
    run.add_argument('--data-root', required=True, help='CIFAR-10, train/ and test/')
    run.add_argument('--size', choices=SIZES, default='micro')
    run.add_argument('--rows', nargs='+', metavar='ROW', help='which (all)')
    run.add_argument('--seeds', nargs='+', type=int, default=[0], metavar='N')
    run.add_argument('--steps', nargs='+', metavar='STEP', help='which (all)')
    run.add_argument('--work-dir', type=Path, default=Path('work_dirs/zoo'))
    run.add_argument(
        '--results',
        type=Path,
        default=RESULTS,
        help='folder of JSON files (%(default)s)',
    )
    run.add_argument('--jobs', type=int, default=1, help='rows at a time (1)')
    run.add_argument('--threads', type=int, help="of each process (PyTorch's choice)")
    budget = run.add_argument_group('a smaller budget')
    budget.add_argument('--epochs', type=int, help="of pre-training (the config's)")
    budget.add_argument(
        '--tuning-epochs', type=float, default=1.0, help='times those of the size (1)'
    )
    budget.add_argument(
        '--severities', nargs='+', type=int, default=[3], help='of corruptions (3)'
    )
    budget.add_argument(
        '--corruption-share',
        type=float,
        default=1.0,
        metavar='SHARE',
        help='of the test images, to corrupt (1)',
    )
    budget.add_argument(
        '--cfg-options', nargs='+', default=[], help='of all that trains and tests'
    )
    report = commands.add_parser('report', help='write tables, plots and the metafile')
    report.add_argument('--results', type=Path, default=RESULTS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run or report."""
    args = parse_args(argv)
    with plain_errors():
        report(args) if args.command == 'report' else run(args)


def run(args: argparse.Namespace) -> None:
    """Run the plans, row by row for the first seed, then for the next."""
    plans = plans_of(args)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'

    def after(plan: Plan, step: Step) -> None:
        name = f'{plan.size}_{plan.row.name}_seed{plan.seed}.json'
        if add_step(args.results / name, plan, step, device):
            print(f'{plan.row.name}, seed {plan.seed}: {step.name} done', flush=True)

    with alone(args.work_dir):
        failures = Runs(ROOT / 'tools', args.threads, after).run(plans, args.jobs)
    if failures:
        cli.fail('\n'.join([f'{len(failures)} of {len(plans)} failed', *failures]))


def plans_of(args: argparse.Namespace) -> list[Plan]:
    """Of every seed and row; ValueError for what makes no sense."""
    for name in ('jobs', 'threads', 'epochs', 'tuning_epochs'):
        value = getattr(args, name)
        if value is not None and value <= 0:
            option = name.replace('_', '-')
            raise ValueError(f'--{option}: got {value}, expected more than 0')
    size = SIZES[args.size]
    rows = [size.row(name) for name in args.rows] if args.rows else size.rows
    budget = Budget(
        steps=tuple(args.steps) if args.steps else None,
        epochs=args.epochs,
        tuning_epochs=args.tuning_epochs,
        severities=tuple(args.severities),
        corruption_share=args.corruption_share,
        options=tuple(args.cfg_options),
    )
    root = str(Path(args.data_root).resolve())
    return [
        plan_row(size, row, seed, budget, root, args.work_dir)
        for seed in args.seeds
        for row in rows
    ]


def report(args: argparse.Namespace) -> None:
    """Write every page that holds results."""
    sizes = {}
    for size in SIZES.values():
        results = read_results(args.results, size.name)
        if not results:
            continue
        sizes[size.name] = size, results
        name = f'zoo:{size.name}'
        fill_file(README, name, main_table(size, results))
        fill_file(PAGE, name, main_table(size, results))
        fill_file(PAGE, f'{name}-layers', layer_table(size, results))
        fill_file(PAGE, f'{name}-curves', curve_table(size, results))
        fill_file(PAGE, f'{name}-fusion', fusion_table(size, results))
        plot_curves(size, results, PLOTS / f'zoo_{size.name}.png')
    if not sizes:
        raise ValueError(f'{args.results} holds no results: run "run" first')
    METAFILE.write_text(metafile(sizes))


if __name__ == '__main__':
    main()
