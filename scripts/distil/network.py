"""ResNets up to layer3 with torchvision's names of tensors, and where a student is compared with its teacher."""

import os
import pickle

import torch
from safetensors.torch import load_file
from torch import nn

ARCHITECTURES = {  # bottleneck, blocks of layer1 to layer3, factor of the inner width
    "resnet18": (False, (2, 2, 2), 1),
    "resnet34": (False, (3, 4, 6), 1),
    "resnet50": (True, (3, 4, 6), 1),
    "resnet101": (True, (3, 4, 23), 1),
    "wide_resnet50_2": (True, (3, 4, 6), 2),
    "wide_resnet101_2": (True, (3, 4, 23), 2),
}


def convolution(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """A basic block, or a bottleneck: a few convolutions and the shortcut around them."""

    def __init__(self, inputs, planes, stride, bottleneck, inner):
        super().__init__()
        outputs = planes * 4 if bottleneck else planes
        if bottleneck:
            wide = planes * inner
            shapes = [(inputs, wide, 1, 1), (wide, wide, 3, stride), (wide, outputs, 1, 1)]
        else:
            shapes = [(inputs, planes, 3, stride), (planes, planes, 3, 1)]
        self.depth = len(shapes)
        for number, shape in enumerate(shapes, 1):
            setattr(self, f"conv{number}", convolution(*shape))
            setattr(self, f"bn{number}", nn.BatchNorm2d(shape[1]))
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Identity()
        self.outputs = outputs

    def forward(self, x):
        y = x
        for number in range(1, self.depth + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            if number < self.depth:
                y = torch.relu(y)
        return torch.relu(y + self.downsample(x))


class ResNet(nn.Module):
    """(B, 3, H, W), normalised as ImageNet -> layer1 (H/4), layer2 (H/8), layer3 (H/16)."""

    def __init__(self, architecture, width=1.0):
        """width: factor of every layer's channels."""
        super().__init__()
        self.architecture, self.width = architecture, width
        bottleneck, counts, inner = ARCHITECTURES[architecture]
        channels = max(8, round(64 * width / 8) * 8)
        self.conv1, self.bn1 = convolution(3, channels, 7, 2), nn.BatchNorm2d(channels)
        inputs = channels
        for level, count in enumerate(counts):
            blocks = []
            for number in range(count):
                stride = 2 if level > 0 and number == 0 else 1
                block = Block(inputs, channels << level, stride, bottleneck, inner)
                blocks.append(block)
                inputs = block.outputs
            setattr(self, f"layer{level + 1}", nn.Sequential(*blocks))

    def stem(self, x):
        return nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)

    def layers(self):
        return {name: getattr(self, name) for name in ("layer1", "layer2", "layer3")}

    def blocks(self):
        """Every block of the layers, by the name that its output has in `outputs`."""
        return {
            f"{name}.{number}": block for name, layer in self.layers().items() for number, block in enumerate(layer)
        }

    def channels(self):
        """What `outputs` has, as numbers of channels."""
        return {"stem": self.conv1.out_channels, **{name: block.outputs for name, block in self.blocks().items()}}

    def last_blocks(self):
        """layer1, layer2 and layer3, by the name that their output has in `outputs`."""
        return {f"{name}.{len(layer) - 1}": name for name, layer in self.layers().items()}

    def has_statistics(self):
        """False where batch norms were folded into the convolutions: each then holds mean 0 and variance 1."""
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        return any(norm.running_mean.any() or (norm.running_var - 1).abs().max() > 1e-3 for norm in norms)

    def outputs(self, x, instead=None):
        """The output of the stem and of every block. `instead(name, output)` may give the next block another input."""
        found = {}
        for name, block in {"stem": self.stem, **self.blocks()}.items():
            found[name] = x = block(x)
            if instead is not None:
                x = instead(name, x)
        return found


def read(path):
    """The tensors of a .safetensors or .pth file; ends the program with one line where there are none."""
    if not os.path.isfile(path):
        raise SystemExit(f"{path} cannot be read: there is no such file")
    try:
        if str(path).endswith(".safetensors"):
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # PyTorch's own message advises to trust the file
        raise SystemExit(f"{path} cannot be read: it is damaged, or holds more than tensors") from None
    except Exception as error:  # each library has errors of its own for a damaged file
        reason = str(error).split("\n")[0] or type(error).__name__
        raise SystemExit(f"{path} cannot be read: {reason}") from None


def fill(model, tensors, path):
    """Takes over the tensors that `model` has, all of them; further ones, such as layer4, are left out."""
    state = model.state_dict()
    for name, own in state.items():
        if name.endswith("num_batches_tracked"):  # only training without momentum would need it
            continue
        tensor = tensors.get(name) if isinstance(tensors, dict) else None
        if not isinstance(tensor, torch.Tensor):
            raise SystemExit(f"{path} is no {model.architecture} in torchvision's format: it has no tensor {name}")
        if tensor.shape != own.shape:
            shapes = f"{name} is {list(tensor.shape)} instead of {list(own.shape)}"
            raise SystemExit(f"{path} is no {model.architecture} of width {model.width:g}: {shapes}")
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{path} is damaged: {name} has values that are not finite")
        state[name] = tensor.float()
    model.load_state_dict(state)


def load(path, architecture, width=1.0):
    """A network of trained weights, whole files or files up to layer3; without gradients, for inference."""
    model = ResNet(architecture, width)
    fill(model, read(path), path)
    return model.eval().requires_grad_(False)
