"""Writes a student as the file that the package holds: convolutions in float16, batch norms in float32.

  python export.py run/student.safetensors ../../weights/resnet18-distilled.safetensors

The same student gives the same bytes. Prints the file's size and checksum for lib/backbones/catalogue.ts.
"""

import hashlib
import json
import os
import struct
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save

from network import read

LICENSE = "BSD-3-Clause"  # torchvision's, for a student of its weights


def with_metadata(file, metadata):
    """Puts metadata into a safetensors file in the order given: the library's own order changes from run to run."""
    (length,) = struct.unpack("<Q", file[:8])
    header = json.dumps({"__metadata__": metadata, **json.loads(file[8 : 8 + length])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + file[8 + length :]


def main(source, target):
    tensors = read(source)
    with safe_open(source, "pt") as file:
        about = file.metadata() or {}
    if float(about.get("width", 1)) != 1:
        raise SystemExit(f"{source} has width {about['width']}: the package loads width 1 only")
    tensors = {name: tensor.half() if tensor.dim() == 4 else tensor.float() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{name} does not fit into {tensor.dtype}")
    architecture = about.get("architecture", "resnet18")
    metadata = {"architecture": architecture, "name": f"{architecture}-distilled", "license": LICENSE}
    content = with_metadata(save(tensors), metadata)
    with open(f"{target}.part", "wb") as file:
        file.write(content)
    os.replace(f"{target}.part", target)
    print(len(content), "bytes, SHA-256", hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
