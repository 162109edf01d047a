#!/usr/bin/env python
r"""Measure how fast it is, and in how much memory.

python tools/benchmark.py step --method mixmim --size base --batch 16
python tools/benchmark.py step --method mae --batch 16 --peer mmpretrain
python tools/benchmark.py step --config MINE.py --against OTHER.py --json FILE
python tools/benchmark.py loader --data-root IMAGES
python tools/benchmark.py encoder --config MINE.py --image-size 1024 --batch 1 \
    --against-options model.backbone.with_cp=True
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
    compare,
    encoder_side,
    our_side,
    peer_side,
)
from mim_zoo.benchmark.arguments import (  # noqa: E402
    add_debug,
    add_how,
    add_json,
    add_options,
    add_pairs,
    add_sides,
    check_batch,
    check_output,
    read_schedule,
    read_work,
)
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
from mim_zoo.benchmark.sides import PEERS, config_of  # noqa: E402
from mim_zoo.errors import plain_errors  # noqa: E402


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='command', required=True)
    add_step(commands.add_parser('step', help='a training step'))
    add_encoder(commands.add_parser('encoder', help='an encoder alone'))
    add_loader(commands.add_parser('loader', help='loading of training images'))
    return parser.parse_args(argv)


def add_step(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``step``."""
    what = parser.add_argument_group('what is measured')
    model = what.add_mutually_exclusive_group(required=True)
    model.add_argument('--method', help='mae, mff, mixmim, ...: its ImageNet config')
    model.add_argument('--config', help='a path, or a name below configs/')
    what.add_argument('--size', help='of --method (base)')
    other = add_sides(what)
    other.add_argument('--peer', help=f'compare with this library: {", ".join(PEERS)}')
    what.add_argument(
        '--peer-config', help="the peer's config, below its configs/ (the same model)"
    )
    add_how(parser)
    parser.set_defaults(run=measure_step)


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``encoder``."""
    what = parser.add_argument_group('what is measured')
    what.add_argument(
        '--config', required=True, help='a path, or a name below configs/'
    )
    add_sides(what)
    what.add_argument(
        '--image-size',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help="a side, or height and width (the encoder's img_size)",
    )
    what.add_argument('--backward', action='store_true', help='forward and backward')
    add_how(parser)
    parser.set_defaults(run=measure_encoder)


def add_loader(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``loader``."""
    parser.add_argument(
        '--data-root', required=True, metavar='IMAGES', help='a folder of photographs'
    )
    parser.add_argument('--config', help='whose training pipeline (MAE ViT-B)')
    add_options(parser, '--cfg-options', 'change the config')
    parser.add_argument('--batch', type=int, default=64, help='images (64)')
    add_pairs(parser)
    parser.add_argument('--steps', type=int, default=6, help='batches in a timing (6)')
    add_json(parser)
    add_debug(parser)
    parser.set_defaults(run=measure_loader)


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


def measure(
    kind: type[Measured], sides: list[Side], work: Work, args: argparse.Namespace
) -> None:
    """Measure the sides, print a table, write JSON if asked."""
    schedule = read_schedule(args, work.device)
    check_output(args)
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
) -> None:
    """Print a table, write JSON if asked."""
    result: dict[str, Any] = dict(
        command=args.command,
        date=started.isoformat(timespec='seconds'),
        machine=machine(device),
        versions=versions(),
        arguments=settings,
        **measured,
    )
    (show_loaders if args.command == 'loader' else show)(result)
    if args.json:
        cli.write_metrics(result, args.json)


def read_sides(args: argparse.Namespace) -> list[Side]:
    """Ours, and the one to compare it with if any."""
    if args.peer_config and not args.peer:
        cli.fail('--peer-config needs --peer.')
    if args.config and args.size:
        cli.fail('--size goes with --method: a --config has its own, leave --size out.')
    args.config = args.config or config_of(args.method, args.size or 'base')
    ours = our_side(args.config, args.cfg_options)
    if args.peer and args.against_options:
        cli.fail('--against-options changes a config of ours: leave out --peer.')
    if args.peer:
        return [ours, peer_side(args.peer, args.peer_config, ours)]
    return [ours, *read_other(args, our_side)]


def read_other(args: argparse.Namespace, read: Callable[..., Side]) -> list[Side]:
    """The other config, or the same one with other options, if any."""
    if not (args.against or args.against_options):
        return []
    options = {**args.cfg_options, **args.against_options}
    return [read(args.against or args.config, options, 'other')]


if __name__ == '__main__':
    main()
