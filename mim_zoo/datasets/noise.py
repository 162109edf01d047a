"""Random numbers that are functions of a seed, value by value, on every device."""

import torch
from torch import Tensor


def _signed(constant: int) -> int:
    """64 bits as torch's int64 holds them."""
    return constant - (1 << 64) if constant >> 63 else constant


GOLDEN = _signed(0x9E3779B97F4A7C15)


def mixed_bits(x: Tensor) -> Tensor:
    """The finaliser of splitmix64, value by value: neighbours become unrelated.

    int64 in and out, wrapping round; the same on every device.
    """
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical, torch's is arithmetic


def seeded_noise(seeds: Tensor, count: int) -> Tensor:
    """Uniform int64 noise (B, count), row b a function of seeds (B,) [b] alone."""
    places = torch.arange(1, count + 1, device=seeds.device)
    return mixed_bits(mixed_bits(seeds + GOLDEN)[:, None] + GOLDEN * places)
