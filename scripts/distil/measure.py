"""Compares a student with its teacher on images of files. Prints JSON.

  python measure.py teacher.safetensors student.safetensors [NAME=]FOLDER...

Images are the middle squares of the .png and .jpg files under the folders, at 128 x 128 pixels. Folders with the same
NAME are one set; without NAME it is the folder's own. For each set:

  errors        squared error over the teacher's variance: of all channels together, and as the mean of each channel's
                own (over its variance and a twentieth of the mean variance, as in distil.py)
  layers        over the channels of a layer, differenceOfMeans: |student's mean - teacher's| / teacher's standard
                deviation, and ratioOfVariances: student's / teacher's
  batchNorms    likewise, over the channels of all batch norms and of each, what reaches them beside what they hold:
                |mean - running mean| / running standard deviation, and variance / running variance; null where
                the batch norms were folded into the convolutions
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import nn

import network
from images import normalised, photographs

SIDE = 128
BATCH = 32
EPSILON = 1e-5  # of torchvision's batch norms


class Moments:
    """Mean and variance of each channel, over images of any number."""

    def __init__(self):
        self.count, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, x):
        x = x.double()
        self.count += x.numel() // x.shape[1]
        self.sum = self.sum + x.sum((0, 2, 3))
        self.squares = self.squares + x.square().sum((0, 2, 3))

    @property
    def mean(self):
        return self.sum / self.count

    @property
    def variance(self):
        return (self.squares / self.count - self.mean.square()).clamp(min=0)


class Watched:
    """A network, and the moments of its layers and of the inputs of its batch norms."""

    def __init__(self, model):
        self.model = model
        self.layers = {name: Moments() for name in model.last_blocks().values()}
        self.norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
        self.inputs = {name: Moments() for name in self.norms}
        for name, module in self.norms.items():
            module.register_forward_pre_hook(lambda _, inputs, seen=self.inputs[name]: seen.add(inputs[0]))

    def __call__(self, x):
        outputs = self.model.outputs(x)
        found = {layer: outputs[name] for name, layer in self.model.last_blocks().items()}
        for layer, tensor in found.items():
            self.layers[layer].add(tensor)
        return found

    def against_statistics(self):
        if not self.model.has_statistics():
            return None
        means, variances = {}, {}
        for name, norm in self.norms.items():
            seen, running = self.inputs[name], norm.running_var.double() + EPSILON
            means[name] = (seen.mean - norm.running_mean).abs() / running.sqrt()
            variances[name] = (seen.variance + EPSILON) / running
        answer = {"all": pair(torch.cat([*means.values()]), torch.cat([*variances.values()]))}
        return answer | {name: pair(means[name], variances[name]) for name in self.norms}


def quantiles(values, *shares):
    return {f"{share:.0%}": round(float(np.quantile(values.numpy(), share)), 4) for share in shares}


def pair(means, variances):
    """A ratio may be off to both sides, a difference to one."""
    return {
        "differenceOfMeans": quantiles(means, 0.5, 0.95),
        "ratioOfVariances": quantiles(variances, 0.05, 0.5, 0.95),
    }


def beside(student, teacher):
    deviation = (teacher.variance + EPSILON).sqrt()
    ratio = (student.variance + EPSILON) / (teacher.variance + EPSILON)
    return pair((student.mean - teacher.mean).abs() / deviation, ratio)


@torch.no_grad()
def measure(student, teacher, images):
    student, teacher = Watched(student), Watched(teacher)
    differences = {layer: Moments() for layer in teacher.layers}
    for part in images.split(BATCH):
        x = normalised(part)
        mine, theirs = student(x), teacher(x)
        for layer, seen in differences.items():
            seen.add(mine[layer] - theirs[layer])
    errors, layers = {}, {}
    for layer, seen in differences.items():
        error, variance = seen.squares / seen.count, teacher.layers[layer].variance
        each = error / (variance + 0.05 * variance.mean())
        errors[layer] = {
            "together": round(float(error.sum() / variance.sum()), 4),
            "mean": round(float(each.mean()), 4),
        }
        layers[layer] = beside(student.layers[layer], teacher.layers[layer])
    norms = {"student": student.against_statistics(), "teacher": teacher.against_statistics()}
    return {"images": len(images), "errors": errors, "layers": layers, "batchNorms": norms}


def described(path):
    """Architecture and width, where distil.py or export.py wrote them."""
    if not path.endswith(".safetensors"):
        return {}
    network.read(path)  # ends the program with one line for a file that cannot be read
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", help="weights in torchvision's format, .pth or .safetensors")
    parser.add_argument("student", help="likewise")
    parser.add_argument("folders", nargs="+", metavar="[NAME=]FOLDER")
    parser.add_argument(
        "--architecture", choices=list(network.ARCHITECTURES), help="of the teacher; the student's by default"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    about = described(asked.student)
    architecture, width = about.get("architecture", "resnet18"), float(about.get("width", 1))

    def networks():
        student = network.load(asked.student, architecture, width)
        teacher = network.load(asked.teacher, asked.architecture or architecture)
        return student, teacher

    student, teacher = networks()
    mine, theirs = ([model.channels()[name] for name in model.last_blocks()] for model in (student, teacher))
    if mine != theirs:
        raise SystemExit(f"the layers have {mine} channels, the teacher's {theirs}: there is nothing to compare")
    sets = {}
    for text in asked.folders:
        name, separator, folder = text.partition("=")
        folder = folder if separator else name
        sets.setdefault(name if separator else Path(folder).name, []).append(photographs(folder, SIDE))
    print(json.dumps({name: measure(*networks(), torch.cat(images)) for name, images in sets.items()}, indent=2))


if __name__ == "__main__":
    main()
