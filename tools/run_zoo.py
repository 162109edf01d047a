#!/usr/bin/env python
"""Compare all methods on CIFAR-10: pre-train, probe, fine-tune, corrupt, report.

python tools/run_zoo.py run --data-root CIFAR10 --size micro --jobs 2 --threads 1
python tools/run_zoo.py run --data-root CIFAR10 --rows mae mff --steps pretrain
python tools/run_zoo.py report

``run`` goes on from where it was stopped; each finished step is written into a JSON
file of its row and seed, which holds one budget only. ``report`` writes README's table,
docs/zoo.md, the plots and the metafile from these.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo import cli  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402
from mim_zoo.pages import fill  # noqa: E402
from mim_zoo.paths import write_text  # noqa: E402
from mim_zoo.zoo.budget import Budget  # noqa: E402
from mim_zoo.zoo.curves import plot_curves  # noqa: E402
from mim_zoo.zoo.metafile import metafile  # noqa: E402
from mim_zoo.zoo.plan import Plan, Step, plan_rows  # noqa: E402
from mim_zoo.zoo.results import (  # noqa: E402
    add_step,
    check_results,
    read_results,
    results_of,
)
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
    run.add_argument('--jobs', type=positive, default=1, help='rows at a time (1)')
    run.add_argument(
        '--threads', type=positive, help="of each process (PyTorch's choice)"
    )
    budget = run.add_argument_group('a smaller budget')
    budget.add_argument('--epochs', type=int, help="of pre-training (the config's)")
    budget.add_argument(
        '--tuning-epochs', type=float, default=1.0, help='times those of the size (1)'
    )
    budget.add_argument(
        '--severities', nargs='+', type=int, help="of corruptions (the size's)"
    )
    budget.add_argument(
        '--corruption-share',
        type=float,
        metavar='SHARE',
        help="of the test images, to corrupt (the size's)",
    )
    budget.add_argument(
        '--cfg-options', nargs='+', default=[], help='of all that trains and tests'
    )
    report = commands.add_parser('report', help='write tables, plots and the metafile')
    report.add_argument('--results', type=Path, default=RESULTS)
    return parser.parse_args(argv)


def positive(text: str) -> int:
    """A number of a command line."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f'got {text}, expected at least 1')
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    """Run or report."""
    args = parse_args(argv)
    with plain_errors():
        report(args) if args.command == 'report' else run(args)


def run(args: argparse.Namespace) -> None:
    """Run the plans, and print what they gave."""
    size = SIZES[args.size]
    budget = Budget(
        steps=args.steps and tuple(args.steps),
        epochs=args.epochs,
        tuning_epochs=args.tuning_epochs,
        severities=args.severities and tuple(args.severities),
        corruption_share=args.corruption_share,
        options=tuple(args.cfg_options),
    )
    root = str(Path(args.data_root).resolve())
    plans = plan_rows(size, args.rows, args.seeds, budget, root, args.work_dir)
    check_results(args.results, plans)

    def after(plan: Plan, step: Step) -> None:
        if add_step(args.results, plan, step):
            print(f'{plan}: {step.name} done', flush=True)

    with alone(args.work_dir) as lock:
        runs = Runs(ROOT / 'tools', args.threads, after, lock)
        failures = runs.run(plans, args.jobs)
    print(main_table(size, results_of(args.results, plans)))
    if failures:
        cli.fail('\n'.join([f'{len(failures)} of {len(plans)} failed', *failures]))


def report(args: argparse.Namespace) -> None:
    """Write every page that holds results, and the plots."""
    pages = {page: page.read_text(encoding='utf-8') for page in (README, PAGE)}
    sizes = {}
    for size in SIZES.values():
        results, name = read_results(args.results, size), f'zoo:{size.name}'
        sizes[size.name] = size, results
        table = main_table(size, results)
        pages[README] = fill(pages[README], name, table)
        for part, body in (
            (name, table),
            (f'{name}-layers', layer_table(size, results)),
            (f'{name}-curves', curve_table(size, results)),
            (f'{name}-fusion', fusion_table(size, results)),
        ):
            pages[PAGE] = fill(pages[PAGE], part, body)
    if not any(results for _, results in sizes.values()):
        cli.fail(f'{args.results} holds no results: run "run" first')
    for page, text in pages.items():
        write_text(page, text)
    write_text(METAFILE, metafile(sizes))
    for size, results in sizes.values():
        if results:
            plot_curves(size, results, PLOTS / f'zoo_{size.name}.png')


if __name__ == '__main__':
    main()
