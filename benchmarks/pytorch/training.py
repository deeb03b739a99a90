"""One training step on cached backbone features, unsupervised or with masks, in plain PyTorch with autograd."""

import torch
import torch.nn.functional as F

from network import pooled_features


def focal(logits, target):
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = torch.sigmoid(logits)
    right = probability * target + (1 - probability) * (1 - target)
    return loss * (1 - right) ** 4


def mean_or_zero(values):
    return values.mean() if values.numel() > 0 else values.sum()


class Step:
    """Normal images only: masks and labels of the batch are zero, every image is segmented, weight 1 everywhere."""

    def __init__(self, network, noise_std, dtype=torch.float32):
        """dtype: below float32 the forward pass runs under autocast, with float32 weights."""
        self.network, self.noise_std, self.dtype = network, noise_std, dtype
        heads = network.heads
        self.optimizer = torch.optim.AdamW(
            [
                {"params": heads.adaptor.parameters(), "lr": 1e-4, "weight_decay": 0.01},
                {"params": [*heads.seg.parameters(), *heads.cls.parameters(), *heads.score.parameters()], "lr": 2e-4, "weight_decay": 1e-5},
            ]
        )

    def __call__(self, layer_maps, perlin_mask, noise=None):
        """layer_maps: b x C_l x h_l x w_l; perlin_mask: 2b x 1 x H x W; noise: drawn here unless given. Returns the total loss."""
        network = self.network
        network.heads.train()
        with torch.no_grad():
            features = pooled_features(layer_maps, network.align_corners)
            if noise is None:
                noise = torch.randn(2 * features.shape[0], *features.shape[1:], device=features.device) * self.noise_std
            perturbation = noise * perlin_mask
        with torch.autocast(features.device.type, self.dtype, enabled=self.dtype != torch.float32):
            adapted = network.heads.adaptor(features)
            adapted = torch.cat((adapted, adapted)) + perturbation
            classified = adapted if network.adapted_classification else torch.cat((features, features)) + perturbation
            logits, score = network.heads(adapted, classified, stop_gradient=True)
        logits, score = logits.float(), score.float()
        label = perlin_mask.amax((1, 2, 3))
        anomalous = perlin_mask > 0
        loss = (
            mean_or_zero(F.relu(logits[~anomalous] + 0.5))
            + mean_or_zero(F.relu(0.5 - logits[anomalous]))
            + focal(logits, perlin_mask).mean()
            + focal(score, label).mean()
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
