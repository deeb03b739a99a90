"""The network as the paper describes it, in plain PyTorch: what the package is measured against.

Written from the paper and docs/method.md; nothing is folded and nothing is computed at low resolution.
"""

import functools
import json
import struct

import torch
import torch.nn.functional as F
from torch import nn

ARCHITECTURES = {  # bottleneck, blocks of layer1 to layer3, factor of the inner width
    "wide_resnet50_2": (True, (3, 4, 6), 2),
    "wide_resnet101_2": (True, (3, 4, 23), 2),
    "resnet50": (True, (3, 4, 6), 1),
    "resnet101": (True, (3, 4, 23), 1),
    "resnet34": (False, (3, 4, 6), 1),
    "resnet18": (False, (2, 2, 2), 1),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def convolution(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, inner, outputs, stride, bottleneck):
        super().__init__()
        self.conv1 = convolution(inputs, inner, 1 if bottleneck else 3, 1 if bottleneck else stride)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, stride if bottleneck else 1)
        self.bn2 = nn.BatchNorm2d(inner)
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv3 = convolution(inner, outputs, 1)
            self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Backbone(nn.Module):
    """Stem and layer1 to layer3; returns layer2 and layer3."""

    def __init__(self, architecture):
        super().__init__()
        bottleneck, blocks, width = ARCHITECTURES[architecture]
        self.conv1 = convolution(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, stages = 64, []
        for stage, count in enumerate(blocks):
            base = 64 << stage
            outputs = base * (4 if bottleneck else 1)
            layer = []
            for i in range(count):
                layer.append(Block(inputs, base * width if bottleneck else base, outputs, 2 if i == 0 and stage > 0 else 1, bottleneck))
                inputs = outputs
            stages.append(nn.Sequential(*layer))
        self.layer1, self.layer2, self.layer3 = stages
        self.channels = inputs + inputs // 2

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        second = self.layer2(self.layer1(x))
        return [second, self.layer3(second)]


class Heads(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.adaptor = nn.Conv2d(channels, channels, 1)
        self.seg = nn.Sequential(nn.Conv2d(channels, 1024, 1), nn.BatchNorm2d(1024), nn.LeakyReLU(0.2), nn.Conv2d(1024, 1, 1, bias=False))
        self.cls = nn.Sequential(nn.Conv2d(channels + 1, 128, 5, padding=2), nn.BatchNorm2d(128), nn.ReLU())
        self.score = nn.Linear(258, 1)

    def forward(self, adapted, classified, stop_gradient=False):
        """Map logits n x 1 x H x W and score logits n, of the features that the two heads see."""
        logits = self.seg(adapted)
        seen = logits.detach() if stop_gradient else logits
        x = self.cls(torch.cat((classified, seen), 1))
        pooled = torch.cat((x.amax((2, 3)), x.mean((2, 3)), seen.amax((2, 3)), seen.mean((2, 3))), 1)
        return logits, self.score(pooled).squeeze(1)


def pooled_features(layer_maps, align_corners):
    size = (2 * layer_maps[0].shape[2], 2 * layer_maps[0].shape[3])
    upscaled = [F.interpolate(layer_map, size=size, mode="bilinear", align_corners=align_corners) for layer_map in layer_maps]
    return F.avg_pool2d(torch.cat(upscaled, 1), 3, 1, 1)


class Network(nn.Module):
    """Normalised images to map logits at image size, blurred, and score logits."""

    def __init__(self, architecture, adapted_classification, align_corners):
        super().__init__()
        self.backbone = Backbone(architecture)
        self.heads = Heads(self.backbone.channels)
        self.adapted_classification = adapted_classification
        self.align_corners = align_corners
        offsets = torch.arange(25, dtype=torch.float64) - 12
        kernel = torch.exp(-offsets.square() / (2 * 4.0**2))
        self.register_buffer("kernel", (kernel / kernel.sum()).float(), persistent=False)

    def forward(self, image):
        features = pooled_features(self.backbone(image), self.align_corners)
        adapted = self.heads.adaptor(features)
        logits, score = self.heads(adapted, adapted if self.adapted_classification else features)
        x = F.interpolate(logits, size=(image.shape[2], image.shape[3]), mode="bilinear", align_corners=False)
        x = F.pad(x, (12, 12, 12, 12), mode="reflect")
        return F.conv2d(F.conv2d(x, self.kernel.view(1, 1, 25, 1)), self.kernel.view(1, 1, 1, 25)), score


@functools.cache
def constant(values, device):
    return torch.tensor(values, device=device).view(1, 3, 1, 1)


def normalised(pixels):
    """uint8 n x H x W x 3 to float32 n x 3 x H x W, where the pixels are."""
    x = pixels.permute(0, 3, 1, 2).float() / 255
    return (x - constant(MEAN, pixels.device)) / constant(STD, pixels.device)


def read_safetensors(path):
    """float32 tensors only, which is all that the package writes here."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}")
        begin, end = entry["data_offsets"]
        tensors[name] = torch.frombuffer(data, dtype=torch.float32, count=(end - begin) // 4, offset=begin).view(entry["shape"]).clone()
    return tensors


def load_weights(network, path):
    """The package's model file with its backbone in it: every tensor of the network, and none left over."""
    names = (
        ("feature_adaptor.projection.", "heads.adaptor."),
        ("discriminator.seg.", "heads.seg."),
        ("discriminator.dec_head.", "heads.cls."),
        ("discriminator.fc_score.", "heads.score."),
    )
    state = {}
    for name, tensor in read_safetensors(path).items():
        for theirs, ours in names:
            if name.startswith(theirs):
                name = ours + name[len(theirs) :]
        state[name] = tensor
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**counters, **state}, strict=True)
