"""Trains a backbone up to layer3 to give the features of a trained one, on images that a program draws (draw.py).

  python distil.py --teacher resnet18.safetensors --out run --minutes 120

Drawing runs in processes of its own, into a ring in memory; the trainer crops, turns and colours what it finds there.
Where student and teacher have the same shape they are compared after every block, and at first a block gets its
teacher's input instead of its own, so that all blocks learn at once. A part of the images are dreams: drawn images
changed by a few steps so that channels of the teacher answer strongly and the inputs of its batch norms have the means
and variances that these hold.

Writes OUT/student.safetensors, OUT/checkpoint.pt (run again with the same OUT to go on) and OUT/log.jsonl.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

import network
from dreams import Dreams
from images import crops, normalised, photographs
from painters import Ring

DREAMS = 2048  # held
FREEZE = 0.7  # of the time; then the statistics of the batch norms stay
LARGER = 0.75  # of the time; then crops are a third larger


def errors(student, teacher):
    """Squared error over the teacher's variance: of all channels together, and the mean of each channel's own."""
    student, teacher = student.float(), teacher.float()
    error = (student - teacher).square().mean((0, 2, 3))
    variance = teacher.var((0, 2, 3), unbiased=False)
    return error.sum() / (variance.sum() + 1e-6), (error / (variance + 0.05 * variance.mean() + 1e-6)).mean()


def replace(write, path):
    """Written whole or not at all."""
    write(f"{path}.part")
    os.replace(f"{path}.part", path)


def machine(device):
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


class Training:
    """A student that learns, and all that is needed to go on after an interruption."""

    def __init__(self, asked):
        self.asked, self.device, self.out = asked, asked.device, Path(asked.out)
        # Files first, so that a damaged one ends the program before anything starts; then the painters, which are forks
        # and should not inherit a GPU.
        torch.manual_seed(asked.seed)
        teacher = network.load(asked.teacher, asked.architecture)
        student = network.ResNet(asked.student or asked.architecture, asked.width)
        if asked.init:
            network.fill(student, network.read(asked.init), asked.init)
        self.photos = photographs(asked.photos, 128) if asked.photos else None
        self.compare(student, teacher)
        self.saved = self.out / "checkpoint.pt"
        self.step, self.minutes = 0, 0.0
        state = self.restore(student) if self.saved.exists() else None
        if self.minutes >= asked.minutes:
            raise SystemExit(f"{self.saved} has {self.minutes:.2f} minutes of training: --minutes ends it there")
        self.out.mkdir(parents=True, exist_ok=True)

        seed = [asked.seed]
        if self.step:  # not the images and crops of the start again
            seed.append(self.step)
            torch.manual_seed(asked.seed + self.step)
        self.ring = Ring(asked.ring, asked.painters, seed, self.device)
        self.teacher, self.student = (
            model.to(self.device, memory_format=torch.channels_last) for model in (teacher, student)
        )
        self.projections.to(self.device)
        self.trained = [*self.student.parameters(), *self.projections.parameters()]
        fused = self.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.trained, asked.rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=fused)
        if state:
            self.optimizer.load_state_dict(state["optimizer"])
        self.dreams = None
        if asked.dreams > 0:
            if not teacher.has_statistics():
                print("the teacher's batch norms were folded in: dreams aim at mean 0, variance 1", file=sys.stderr)
            self.dreams = Dreams(self.teacher, DREAMS, self.asked.crop * 4 // 3, self.autocast)

    def compare(self, student, teacher):
        """Chooses what is compared: every block where both have the same shape, otherwise the layers."""
        mine, theirs = student.channels(), teacher.channels()
        self.same = mine == theirs
        layers = zip(student.last_blocks(), teacher.last_blocks())
        self.pairs = [(name, name) for name in mine] if self.same else list(layers)
        self.projections = nn.ModuleList(
            nn.Identity() if mine[a] == theirs[b] else nn.Conv2d(mine[a], theirs[b], 1) for a, b in self.pairs
        )
        self.levels = student.last_blocks()

    def restore(self, student):
        state = network.read(self.saved)
        try:
            student.load_state_dict(state["student"])
            self.projections.load_state_dict(state["projections"])
            self.step, self.minutes = state["step"], state["minutes"]
        except (KeyError, TypeError, RuntimeError):
            raise SystemExit(f"{self.saved} is of other networks than those asked for: give another --out") from None
        return state

    def save(self):
        state = {
            "student": self.student.state_dict(),
            "projections": self.projections.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
        }
        replace(lambda path: torch.save(state, path), self.saved)
        weights = {name: tensor.float().contiguous() for name, tensor in state["student"].items()}
        weights = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
        about = {"architecture": self.student.architecture, "width": str(self.student.width)}
        replace(lambda path: save_file(weights, path, about), self.out / "student.safetensors")

    def autocast(self):
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.asked.precision == "bfloat16")

    def schedule(self, done):
        """Sets what depends on the share of the time that has passed; returns the learning rate."""
        rate = self.asked.rate * min(1, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.student.train()
        for module in self.student.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1 if done < 0.3 else 0.02
                if done >= FREEZE:  # so that training and use see the same network
                    module.eval()
        return rate

    def batch(self, side):
        """Normalised images (B, 3, side, side): drawn ones, then dreams."""
        dreamt = int(self.asked.batch * self.asked.dreams)
        if self.dreams is not None and (self.step % 8 == 0 or self.dreams.held == 0):
            wanted = max(8, self.asked.batch // 2)
            self.dreams.renew(crops(self.ring.sample(wanted), self.dreams.pool.shape[-1]), self.asked.dream_steps)
        x = crops(self.ring.sample(self.asked.batch - dreamt), side)
        if dreamt:
            x = torch.cat([x, crops(self.dreams.sample(dreamt), side)])
        return normalised(x)

    def learn(self, x, share):
        """One step; a `share` of the images get their teacher's inputs. Returns the loss and the layers' errors."""
        forced = torch.rand(len(x), 1, 1, 1, device=self.device) < share
        with self.autocast():
            with torch.no_grad():
                theirs = self.teacher.outputs(x)

            def instead(name, y):
                return torch.where(forced, theirs[name].to(y.dtype), y)

            mine = self.student.outputs(x, instead if self.same else None)
            projected = [projection(mine[a]) for (a, _), projection in zip(self.pairs, self.projections)]
        loss, layers = 0.0, {}
        for (a, b), found in zip(self.pairs, projected):
            together, each = errors(found, theirs[b])
            loss = loss + (together + each) / 2
            if a in self.levels:
                layers[self.levels[a]] = together.detach()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, 2.0)
        self.optimizer.step()
        self.step += 1
        return loss.detach(), layers

    @torch.no_grad()
    def on_photographs(self):
        self.student.eval()
        x = normalised(self.photos.to(self.device))
        mine, theirs = self.student.outputs(x), self.teacher.outputs(x)
        found = {}
        for (a, b), projection in zip(self.pairs, self.projections):
            if a in self.levels:
                found[self.levels[a]] = round(float(errors(projection(mine[a]), theirs[b])[0]), 4)
        return found

    def open_log(self):
        log = (self.out / "log.jsonl").open("a" if self.step else "w")
        here = {"torch": torch.__version__, "machine": machine(self.device)}
        if self.step:
            first = {"resumed": {"step": self.step, "minutes": round(self.minutes, 2)}, **here}
        else:
            hidden = ("teacher", "init", "out", "photos")  # paths
            first = {"options": {key: value for key, value in vars(self.asked).items() if key not in hidden}, **here}
            first["options"]["device"] = str(self.device)
        log.write(json.dumps(first) + "\n")
        return log

    def run(self):
        asked = self.asked
        print("drawing the first images", file=sys.stderr)
        while (drawn := self.ring.refresh()) < min(1000, max(1, asked.ring // 2)):
            time.sleep(0.2)
        log = self.open_log()
        sums, count = {}, 0
        before, saved_at, told_at = time.monotonic(), self.minutes, self.minutes
        while self.minutes < asked.minutes:
            done = self.minutes / asked.minutes
            rate = self.schedule(done)
            if self.step % 8 == 0:
                drawn = self.ring.refresh()
            forced = max(0.0, 1 - done / asked.forced) if self.same and asked.forced > 0 else 0.0
            loss, layers = self.learn(self.batch(asked.crop if done < LARGER else asked.crop * 4 // 3), forced)
            for name, value in layers.items():
                sums[name] = sums.get(name, 0) + value
            count += 1
            now = time.monotonic()
            self.minutes, before = self.minutes + (now - before) / 60, now
            ended = self.minutes >= asked.minutes
            tells, saves = self.minutes - told_at >= asked.minutes / 120 or ended, self.minutes - saved_at >= 1 or ended
            if (tells or saves) and not math.isfinite(float(loss)):
                raise SystemExit(f"the loss is not finite at step {self.step}: a lower --rate may help")
            if tells:
                line = {"step": self.step, "minutes": round(self.minutes, 2), "drawn": drawn, "rate": round(rate, 7)}
                line |= {"forced": round(forced, 2)}
                line |= {name: round(float(value) / count, 4) for name, value in sums.items()}
                if self.photos is not None:
                    line["photos"] = self.on_photographs()
                print(json.dumps(line), flush=True)
                log.write(json.dumps(line) + "\n")
                log.flush()
                sums, count, told_at = {}, 0, self.minutes
            if saves:
                self.save()
                saved_at = self.minutes


def number(kind, low, high=math.inf, below=False):
    """For argparse: a number from `low` to `high`, or `below` it."""

    def read(text):
        value = kind(text)
        if not low <= value <= high or (below and value == high):
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {'below ' if below else ''}{high}")
        return value

    read.__name__ = kind.__name__
    return read


def device(text):
    try:
        found = torch.device(text)
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text} is no device") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("this PyTorch finds no GPU")
    return found


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, names = parser.add_argument, list(network.ARCHITECTURES)
    positive = number(int, 1)
    add("--teacher", required=True, help="weights in torchvision's format, .pth or .safetensors")
    add("--architecture", default="resnet18", choices=names, help="of the teacher")
    add("--student", choices=names, help="its architecture; the teacher's by default")
    add("--width", type=number(float, 0.01, 8), default=1.0, help="of the student's layers; the package loads 1 only")
    add("--init", help="student.safetensors of another run to start from")
    add("--out", required=True, help="a folder")
    add("--minutes", type=number(float, 0.001), default=120, help="of training; the schedule follows the clock")
    add("--batch", type=number(int, 2), default=32)
    add("--crop", type=number(int, 24), default=96, help="pixels; a third more in the last quarter of the time")
    add("--rate", type=number(float, 0), default=2e-3, help="learning rate at its highest")
    add("--forced", type=number(float, 0, 1), default=0.6, help="share of the time in which teacher's inputs are used")
    add("--dreams", type=number(float, 0, 1, below=True), default=0.25, help="share of a batch; 0 for none")
    add("--dream-steps", type=positive, default=10)
    add("--painters", type=positive, default=1, help="processes that draw")
    add("--ring", type=positive, default=4096, help="drawn images held, 110 kB each on the host and on the device")
    add("--seed", type=number(int, 0), default=0)
    add("--device", type=device, default="cpu")
    add(
        "--precision",
        default="bfloat16",
        choices=["bfloat16", "float32"],
        help="float32 is faster on processors without AMX or AVX512-BF16",
    )
    add("--threads", type=positive, default=max(1, (os.cpu_count() or 2) - 1))
    add("--photos", help="a folder of images to measure on; none is trained on")
    return parser.parse_args()


def main():
    asked = options()
    torch.set_num_threads(asked.threads)
    torch.backends.cudnn.benchmark = True
    try:
        Training(asked).run()
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint, one a minute", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
