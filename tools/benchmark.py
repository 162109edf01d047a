#!/usr/bin/env python
r"""Measure how fast it is, and in how much memory.

python tools/benchmark.py step --method mixmim --size base --batch 16
python tools/benchmark.py step --method mae --batch 16 --peer mmpretrain
python tools/benchmark.py step --config MINE.py --against OTHER.py --json FILE
python tools/benchmark.py loader --data-root IMAGES
python tools/benchmark.py encoder --config MINE.py --image-size 1024 --batch 1 \
    --against-options model.backbone.with_cp=True
python tools/benchmark.py scaling --method mae --axis processes --values 1 2
python tools/benchmark.py table
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if (ROOT / 'mim_zoo' / 'version.py').is_file():  # in a checkout, its own code
    sys.path.insert(0, str(ROOT))

from mim_zoo import cli  # noqa: E402
from mim_zoo.benchmark import (  # noqa: E402
    EncoderPass,
    EncoderWork,
    Measured,
    Schedule,
    Side,
    Stepper,
    Work,
    commands,
    compare,
    encoder_side,
    our_side,
    peer_side,
)
from mim_zoo.benchmark.arguments import (  # noqa: E402
    check_batch,
    check_peak,
    check_profile,
    read_schedule,
    read_work,
)
from mim_zoo.benchmark.committed import committed_table  # noqa: E402
from mim_zoo.benchmark.curves import plot_points, show_points  # noqa: E402
from mim_zoo.benchmark.loader import (  # noqa: E402
    OFFICIAL,
    WISHES,
    compare_loaders,
    loading_of,
)
from mim_zoo.benchmark.memory import MEANING  # noqa: E402
from mim_zoo.benchmark.report import (  # noqa: E402
    machine,
    show,
    show_loaders,
    versions,
)
from mim_zoo.benchmark.scaling import measure_points  # noqa: E402
from mim_zoo.benchmark.sides import config_of  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402
from mim_zoo.pages import fill_file  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parsers = parser.add_subparsers(dest='command', required=True)
    for name, (what, add_arguments, run) in COMMANDS.items():
        command = parsers.add_parser(name, help=what)
        add_arguments(command)
        command.set_defaults(run=run)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure."""
    args = parse_args(argv)
    with plain_errors(args.debug):
        args.run(args)


def measure_step(args: argparse.Namespace) -> None:
    """Measure a training step."""
    work = read_work(args)
    measure(Stepper, read_sides(args), work, args)


def measure_encoder(args: argparse.Namespace) -> None:
    """Measure an encoder without what is around it."""
    size = args.image_size
    if size is not None and (len(size) > 2 or min(size) < 1):
        cli.fail(f'--image-size: got {size}, expected a side, or height and width.')
    work = EncoderWork(
        **asdict(read_work(args)),
        backward=args.backward,
        image_size=None if size is None else (size[0], size[-1]),
    )
    sides = [encoder_side(args.config, args.cfg_options)]
    sides += read_other(args, encoder_side)
    measure(EncoderPass, sides, work, args)


def measure_loader(args: argparse.Namespace) -> None:
    """Measure how fast one process loads, beside what MAE's recipe says."""
    check_batch(args.batch)
    config = args.config or config_of('mae', 'base')
    started = datetime.now(timezone.utc)
    sides = compare_loaders(
        [
            loading_of(config, name, args.data_root, args.batch, args.cfg_options)
            for name in (*WISHES, OFFICIAL)
        ],
        Schedule(args.pairs, args.steps),
    )
    settings = dict(
        batch=args.batch,
        config=Path(config).stem,
        pairs=args.pairs,
        steps=args.steps,
        cfg_options=args.cfg_options,
    )
    finish(args, started, 'cpu', settings, sides=sides)


def measure_scaling(args: argparse.Namespace) -> None:
    """Measure a step at each of some values."""
    work = read_work(args)
    schedule = read_schedule(args, work.device)
    check_peak(args.peak_tflops)
    started = datetime.now(timezone.utc)
    side = read_side(args)
    found = measure_points(
        args.axis, args.values, side, work, schedule, args.peak_tflops
    )
    settings = {**asdict(work), **asdict(schedule), 'peak_tflops': args.peak_tflops}
    meaning = MEANING[work.device]
    result = finish(
        args, started, work.device, settings, memory_meaning=meaning, **found
    )
    if args.plot:
        plot_points(result, args.plot)


def write_table(_: argparse.Namespace) -> None:
    """Write what benchmarks/ holds into the README."""
    table = committed_table(ROOT / 'benchmarks', 'benchmarks')
    changed = fill_file(ROOT / 'README.md', 'benchmarks', table)
    print(f'README.md: {"written" if changed else "as it was"}')


def measure(
    kind: type[Measured], sides: list[Side], work: Work, args: argparse.Namespace
) -> None:
    """Measure the sides, print a table, write JSON if asked."""
    schedule = read_schedule(args, work.device)
    check_peak(args.peak_tflops)
    check_profile(args.profile)
    started = datetime.now(timezone.utc)
    measured = compare(kind, sides, work, schedule, args.peak_tflops, args.profile)
    settings = {
        **asdict(work),
        **asdict(schedule),
        'cfg_options': args.cfg_options,
        'peak_tflops': args.peak_tflops,
    }
    meaning = MEANING[work.device]
    finish(args, started, work.device, settings, memory_meaning=meaning, **measured)


def finish(
    args: argparse.Namespace,
    started: datetime,
    device: str,
    settings: dict[str, Any],
    **measured: Any,
) -> dict[str, Any]:
    """Print a table, write JSON if asked; the whole result."""
    result: dict[str, Any] = dict(
        command=args.command,
        date=started.isoformat(timespec='seconds'),
        machine=machine(device),
        versions=versions(),
        arguments=settings,
        **measured,
    )
    tables = dict(loader=show_loaders, scaling=show_points)
    tables.get(args.command, show)(result)
    if args.json:
        cli.write_metrics(result, args.json)
    return result


def read_sides(args: argparse.Namespace) -> list[Side]:
    """Ours, and the one to compare it with if any."""
    if args.peer_config and not args.peer:
        cli.fail('--peer-config needs --peer.')
    ours = read_side(args)
    if args.peer and args.against_options:
        cli.fail('--against-options changes a config of ours: leave out --peer.')
    if args.peer:
        return [ours, peer_side(args.peer, args.peer_config, ours)]
    return [ours, *read_other(args, our_side)]


def read_side(args: argparse.Namespace) -> Side:
    """Ours."""
    if args.config and args.size:
        cli.fail('--size goes with --method: a --config has its own, leave --size out.')
    args.config = args.config or config_of(args.method, args.size or 'base')
    return our_side(args.config, args.cfg_options)


def read_other(args: argparse.Namespace, read: Callable[..., Side]) -> list[Side]:
    """The other config, or the same one with other options, if any."""
    if not (args.against or args.against_options):
        return []
    options = {**args.cfg_options, **args.against_options}
    return [read(args.against or args.config, options, 'other')]


COMMANDS: dict[str, tuple[str, Callable, Callable]] = dict(
    step=('a training step', commands.step_arguments, measure_step),
    encoder=('an encoder alone', commands.encoder_arguments, measure_encoder),
    loader=('loading of images', commands.loader_arguments, measure_loader),
    scaling=('a step over sizes', commands.scaling_arguments, measure_scaling),
    table=('write the table of README.md', commands.table_arguments, write_table),
)


if __name__ == '__main__':
    main()
