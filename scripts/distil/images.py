"""Images on their way into a network: normalised, cropped and coloured at random, or read from files to measure on."""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(x):
    """(B, 3, H, W) of 0..1, as torchvision's networks want it."""
    mean, std = (torch.tensor(values, device=x.device).view(3, 1, 1) for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def crops(images, side):
    """(B, 3, S, S) uint8 -> (B, 3, side, side) of 0..1: a place, scale, turn, mirror and light at random."""
    batch, device = len(images), images.device
    scale = torch.exp(torch.empty(batch, device=device).uniform_(math.log(0.6), math.log(1.5)))
    scale = scale * side / images.shape[-1]
    turns = torch.randint(4, (batch,), device=device) * (math.pi / 2)
    turns = turns + torch.randn(batch, device=device) * 0.3 * (torch.rand(batch, device=device) < 0.4)
    mirror = torch.where(torch.rand(batch, device=device) < 0.5, -1.0, 1.0)
    room = (1 - scale).clamp(min=0)
    shift = (torch.rand(batch, 2, device=device) * 2 - 1) * room[:, None]
    cos, sin = torch.cos(turns) * scale, torch.sin(turns) * scale
    rows = [torch.stack([cos * mirror, -sin, shift[:, 0]], 1), torch.stack([sin * mirror, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), (batch, 3, side, side), align_corners=False)
    x = F.grid_sample(images.float() / 255, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return recoloured(x)


def recoloured(x):
    """Some of the images brighter, tinted, grey, of swapped channels, negative, mixed with another one, or noisy."""
    batch, device = len(x), x.device

    def chance(share):
        return (torch.rand(batch, 1, 1, 1, device=device) < share).float()

    light = 1 + torch.randn(batch, 1, 1, 1, device=device) * 0.15 + torch.randn(batch, 3, 1, 1, device=device) * 0.12
    x = torch.lerp(x, x * light + torch.randn(batch, 1, 1, 1, device=device) * 0.08, chance(0.5))
    x = torch.lerp(x, x.mean(1, keepdim=True), chance(0.12))
    x = torch.lerp(x, x.flip(1), chance(0.2))
    x = torch.lerp(x, 1 - x, chance(0.05))
    mixed = torch.rand(batch, 1, 1, 1, device=device) * chance(0.12)
    x = torch.lerp(x, x.roll(1, 0), mixed)
    x = x + torch.randn_like(x) * 0.02 * chance(0.25)
    return x.clamp(0, 1)


def photographs(folder, side):
    """Middle squares of the images under a folder, (N, 3, side, side) of 0..1. Ends the program if there are none."""
    found = []
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            continue
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise SystemExit(f"{path} is no image that OpenCV can read")
        edge = min(image.shape[:2])
        top, left = (image.shape[0] - edge) // 2, (image.shape[1] - edge) // 2
        square = image[top : top + edge, left : left + edge, ::-1]
        square = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
        found.append(torch.from_numpy(np.ascontiguousarray(square)).permute(2, 0, 1).float() / 255)
    if not found:
        raise SystemExit(f"{folder} has no .png or .jpg file")
    return torch.stack(found)
