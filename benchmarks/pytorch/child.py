"""Answers commands, one JSON object per line on stdin, with one JSON object per line on stdout.

Started by benchmarks/pytorch.ts, so that both sides are measured in alternation in one process tree.
"""

import json
import os
import sys
import time

import torch

from network import Network, load_weights, normalised
from training import Step


def status(name):
    """Bytes of a line of /proc/self/status, or None where there is none (not Linux)."""
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        return True
    except OSError:
        return False


def floats(path, *shape):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.float32).view(*shape)


class Timer:
    """Milliseconds on the clock, and of the processor, for each of `calls`."""

    def __init__(self, calls=1):
        self.calls = calls

    def __enter__(self):
        self.clock, self.processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_):
        self.times = {"ms": (time.perf_counter() - self.clock) * 1000 / self.calls, "cpuMs": (time.process_time() - self.processor) * 1000 / self.calls}


class Child:
    def load(self, architecture, variant, alignCorners, weights, threads, device, precision):
        torch.set_num_threads(threads)
        self.device = torch.device(device)
        self.dtype = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        self.network = Network(architecture, variant == "icpr", alignCorners)
        load_weights(self.network, weights)
        self.network.to(self.device).eval()
        self.compiled = None
        return {"torch": torch.__version__}

    def pixels(self, path, count, height, width):
        with open(path, "rb") as file:
            self.images = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).view(count, height, width, 3)
        if self.device.type == "cuda":
            self.images = self.images.pin_memory()
        return {}

    def reduce(self):
        """For inference: the whole network in its element type, channels-last on a GPU. Training keeps float32 weights."""
        self.network.to(self.dtype)
        if self.device.type == "cuda":
            self.network.to(memory_format=torch.channels_last)
        return {}

    def compile(self):
        self.compiled = torch.compile(self.network)
        return {}

    @torch.inference_mode()
    def infer(self, compiled=False, output=None, calls=1):
        """Images and results on the CPU: copies and waiting are inside the clock."""
        network = self.compiled if compiled else self.network
        with Timer(calls) as timer:
            for _ in range(calls):
                image = normalised(self.images.to(self.device, non_blocking=True)).to(self.dtype)
                if self.device.type == "cuda":
                    image = image.contiguous(memory_format=torch.channels_last)
                anomaly_map, score = (result.float().cpu() for result in network(image))
        if output is not None:
            with open(output, "wb") as file:
                file.write(anomaly_map.contiguous().numpy().tobytes())
        return {**timer.times, "scores": score.tolist()}

    def export(self, path):
        torch.onnx.export(self.network, (normalised(self.images).to(self.device),), path, dynamo=False, input_names=["image"], output_names=["map", "score"])
        return {}

    def prepare(self, noiseStd):
        with torch.no_grad():
            self.layer_maps = [torch.cat(parts) for parts in zip(*(self.network.backbone(normalised(image[None].to(self.device))) for image in self.images))]
        self.step_ = Step(self.network, noiseStd, self.dtype)
        return {"supportsPeak": reset_peak(), "restingBytes": self.memory(reset=True)["residentBytes"]}

    def step(self, mask, height, width, noise=None, calls=1):
        """The loss is read after the last of the calls."""
        samples = 2 * len(self.images)
        perlin_mask = floats(mask, samples, 1, height, width).to(self.device)
        given = None if noise is None else self.dense(noise, perlin_mask)
        with Timer(calls) as timer:
            for _ in range(calls):
                loss = self.step_(self.layer_maps, perlin_mask, given)
            loss = loss.item()
        return {**timer.times, "loss": loss}

    def dense(self, path, perlin_mask):
        """The noise of the masked positions, sample by sample, as the package draws it."""
        samples, _, height, width = perlin_mask.shape
        channels = self.network.backbone.channels
        active = perlin_mask.view(samples, -1) > 0
        noise = torch.zeros(samples, height * width, channels, device=self.device)
        noise[active] = floats(path, -1, channels).to(self.device)
        return noise.view(samples, height, width, channels).permute(0, 3, 1, 2)

    def memory(self, reset=False):
        """Of the process, or on a GPU what PyTorch's allocator has taken of its memory."""
        if self.device.type == "cuda":
            answer = {"peakBytes": torch.cuda.max_memory_reserved(), "residentBytes": torch.cuda.memory_reserved()}
            if reset:
                torch.cuda.reset_peak_memory_stats()
            return answer
        answer = {"peakBytes": status("VmHWM"), "residentBytes": status("VmRSS")}
        if reset:
            reset_peak()
        return answer

    def gemm(self, side):
        a, b = torch.rand(side, side), torch.rand(side, side)
        torch.mm(a, b)
        with Timer() as timer:
            torch.mm(a, b)
        return {"flopsPerSecond": 2 * side**3 / (timer.times["cpuMs"] / 1000) / torch.get_num_threads()}


def main():
    child = Child()
    # Nothing that a library or its own processes print may come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(child, request.pop("command"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
