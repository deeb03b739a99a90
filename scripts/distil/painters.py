"""Processes that draw, and the memory that they draw into."""

import mmap
import multiprocessing
import os
import signal

import numpy as np
import torch

import draw

DRAWN = 192  # pixels, the side of a drawn image


class Ring:
    """Drawn images in shared memory. Each painter has slots of its own and overwrites its oldest image."""

    def __init__(self, slots, painters, seed, device):
        """seed: a list of numbers, to which each painter adds its own."""
        self.share = max(1, slots // painters)
        memory = mmap.mmap(-1, self.share * painters * DRAWN * DRAWN * 3)  # shared with the children, in no file
        self.host = np.frombuffer(memory, np.uint8).reshape(painters, self.share, DRAWN, DRAWN, 3)
        self.counts = multiprocessing.RawArray("q", painters)
        self.taken = [0] * painters
        try:
            processes = multiprocessing.get_context("fork")  # only a fork shares memory without a file
        except ValueError:
            raise SystemExit("the painters need a system with fork: Linux, macOS, or WSL on Windows") from None
        parent = os.getpid()
        self.children = [
            processes.Process(target=self.paint, args=(number, [*seed, number], parent), daemon=True)
            for number in range(painters)
        ]
        for child in self.children:
            child.start()
        self.device = device
        self.images = torch.zeros(painters, self.share, 3, DRAWN, DRAWN, dtype=torch.uint8, device=device)

    def paint(self, number, seed, parent):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends its painters itself
        os.nice(1)
        painter = draw.Painter(seed, DRAWN)
        while os.getppid() == parent:  # a parent that was killed could not end its painters
            self.host[number, self.counts[number] % self.share] = painter.image()
            self.counts[number] += 1

    def refresh(self):
        """Takes over what was drawn since the last call; returns the number of images drawn in all."""
        for number, child in enumerate(self.children):
            if not child.is_alive():
                raise SystemExit(f"painter {number} ended with exit code {child.exitcode}")
            count = self.counts[number]
            new = [slot % self.share for slot in range(max(self.taken[number], count - self.share), count)]
            if new:
                self.images[number, new] = torch.from_numpy(self.host[number, new]).to(self.device).permute(0, 3, 1, 2)
                self.taken[number] = count
        return sum(self.taken)

    def sample(self, batch):
        """(B, 3, DRAWN, DRAWN) uint8, any of the images held."""
        held = torch.tensor([min(count, self.share) for count in self.taken])
        painters = torch.multinomial(held.double(), batch, replacement=True)
        slots = (torch.rand(batch) * held[painters]).long()
        return self.images[painters.to(self.device), slots.to(self.device)]
