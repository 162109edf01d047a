"""Where a random crop lies: (top, left, height, width), in pixels."""

import math

import torch
from torchvision.transforms import RandomResizedCrop


def random_box(
    height: int, width: int, scale: list[float], ratio: list[float]
) -> tuple[int, int, int, int]:
    """The box (top, left, height, width) of torchvision's RandomResizedCrop."""
    shape = torch.empty(0, height, width)  # all that it reads of an image
    return RandomResizedCrop.get_params(shape, scale, ratio)


def single_draw_box(
    height: int, width: int, scale: list[float], ratio: list[float]
) -> tuple[int, int, int, int]:
    """One box (top, left, height, width), uniform area and log-uniform aspect."""
    area = height * width * torch.empty(1).uniform_(*scale).item()
    aspect = math.exp(torch.empty(1).uniform_(*map(math.log, ratio)).item())
    w = min(max(round(math.sqrt(area * aspect)), 1), width)
    h = min(max(round(math.sqrt(area / aspect)), 1), height)
    top = int(torch.randint(height - h + 1, ()))
    left = int(torch.randint(width - w + 1, ()))
    return top, left, h, w
