"""Where a random crop lies: (top, left, height, width), in pixels."""

import math

import torch


def random_box(
    height: int, width: int, scale: list[float], ratio: list[float]
) -> tuple[int, int, int, int]:
    """The box (top, left, height, width) that torchvision's RandomResizedCrop draws.

    Up to ten draws of area and log-uniform aspect until a box fits, then the middle in
    the nearest aspect allowed. From a size, for which torchvision asks for an image.
    """
    log_ratio = torch.log(torch.tensor(ratio)).tolist()
    for _ in range(10):
        area = height * width * torch.empty(1).uniform_(*scale).item()
        aspect = torch.empty(1).uniform_(*log_ratio).exp_().item()
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = int(torch.randint(height - h + 1, (1,)))
            return top, int(torch.randint(width - w + 1, (1,))), h, w
    aspect = min(max(width / height, min(ratio)), max(ratio))
    w = min(width, round(height * aspect))
    h = min(height, round(width / aspect))
    return (height - h) // 2, (width - w) // 2, h, w


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
