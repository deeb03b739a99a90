"""Dreams: drawn images that the teacher's own answers have changed."""

import math

import torch
from torch.nn import functional as F

from images import normalised

ANSWERS = 4  # blocks, the last ones, whose channels may be made to answer


class Dreams:
    """A pool of dreams. New ones overwrite the oldest."""

    def __init__(self, teacher, size, side, autocast):
        self.teacher, self.autocast = teacher, autocast
        device = next(teacher.parameters()).device
        self.pool = torch.zeros(size, 3, side, side, dtype=torch.uint8, device=device)
        self.next = self.held = 0
        self.distances = None  # of each batch norm's input from the statistics it holds, while dreams are made
        for module in teacher.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.register_forward_pre_hook(self.listen)

    def listen(self, module, inputs):
        if self.distances is None:
            return
        x = inputs[0].float()
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        means = (mean - module.running_mean).square() / (module.running_var + 1e-5)
        variances = (torch.log(variance + 1e-4) - torch.log(module.running_var + 1e-4)).square()
        self.distances.append((means + variances).mean())

    def renew(self, images, steps):
        """images: (B, 3, side, side) of 0..1. Adds B dreams; each has its own few channels of one block that answer."""
        x, device = images.clone(), images.device
        batch = len(x)
        rate = torch.exp(torch.empty(batch, 1, 1, 1, device=device).uniform_(math.log(0.01), math.log(0.06)))
        coarse = torch.rand(batch, 1, 1, 1, device=device)
        chosen = None
        for _ in range(steps):
            jitter = [int(v) for v in torch.randint(-8, 9, (2,))]
            x = x.roll(jitter, (2, 3)).detach().requires_grad_(True)
            self.distances = []
            with self.autocast():
                found = self.teacher.outputs(normalised(x))
            answers = [found[name].float() for name in list(found)[-ANSWERS:]]
            if chosen is None:
                chosen = self.choose([answer.shape[1] for answer in answers], batch, device)
            loss = sum(self.distances) * batch
            for answer, choice in zip(answers, chosen):
                usual = (answer.mean((0, 2, 3)) + 1e-3).detach()
                loss = loss - (answer.mean((2, 3)) / usual * choice).sum()
            (slope,) = torch.autograd.grad(loss, x)
            low = F.interpolate(F.avg_pool2d(slope, 4), size=slope.shape[2:], mode="bilinear", align_corners=False)
            slope, low = (part / (part.std((1, 2, 3), keepdim=True) + 1e-12) for part in (slope, low))
            x = (x.detach() - rate * torch.lerp(slope, low, coarse)).clamp(0, 1)
        self.distances = None
        for image in (x.detach() * 255).round().to(torch.uint8):
            self.pool[self.next] = image
            self.next = (self.next + 1) % len(self.pool)
            self.held = min(self.held + 1, len(self.pool))

    @staticmethod
    def choose(channels, batch, device):
        """For each block a mask (B, channels): about three channels of one block, another choice for each image."""
        block = torch.randint(len(channels), (batch,), device=device)
        return [
            (torch.rand(batch, count, device=device) < 3 / count).float() * (block == number).float()[:, None]
            for number, count in enumerate(channels)
        ]

    def sample(self, batch):
        return self.pool[torch.randint(self.held, (batch,), device=self.pool.device)]
