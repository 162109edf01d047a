"""The command line of each command of ``tools/benchmark.py``."""

import argparse

from .arguments import (
    add_debug,
    add_how,
    add_json,
    add_model,
    add_options,
    add_pairs,
    add_profile,
    add_sides,
)
from .scaling import AXES
from .sides import PEERS


def step_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``step``."""
    what = parser.add_argument_group('what is measured')
    add_model(what)
    other = add_sides(what)
    other.add_argument('--peer', help=f'compare with this library: {", ".join(PEERS)}')
    what.add_argument(
        '--peer-config', help="the peer's config, below its configs/ (the same model)"
    )
    add_profile(add_how(parser))


def encoder_arguments(parser: argparse.ArgumentParser) -> None:
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
    add_profile(add_how(parser))


def loader_arguments(parser: argparse.ArgumentParser) -> None:
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


def scaling_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``scaling``."""
    what = parser.add_argument_group('what is measured')
    add_model(what)
    add_options(what, '--cfg-options', 'change the config')
    what.add_argument('--axis', choices=AXES, required=True, help='what changes')
    what.add_argument(
        '--values', type=int, nargs='+', required=True, help='its values, in this order'
    )
    out = add_how(parser)
    out.add_argument('--plot', metavar='FILE', help='draw the curves, as .png or .pdf')


def table_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``table``."""
    add_debug(parser)
