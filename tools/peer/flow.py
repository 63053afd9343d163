"""Warping, and optical flow by SpyNet (arXiv:1611.00850)."""

import torch
import torch.nn.functional as F
from torch import nn


def sampling_points(flow):
    """Pixel coordinates `(x, y)`, each `[b, h, w]`, that a flow `[b, 2, h, w]` points at."""
    h, w = flow.shape[-2:]
    xs = torch.arange(w, dtype=torch.float32, device=flow.device)
    ys = torch.arange(h, dtype=torch.float32, device=flow.device)
    return flow[:, 0] + xs, flow[:, 1] + ys[:, None]


def sample(image, x, y, mode="bilinear", padding="zeros"):
    """`image` `[b, c, h, w]` at pixel coordinates `x`, `y`, each `[b, h, w]`."""
    h, w = image.shape[-2:]
    x = 2.0 * x / max(w - 1, 1) - 1.0
    y = 2.0 * y / max(h - 1, 1) - 1.0
    grid = torch.stack((x, y), dim=3)
    return F.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=True)


def warp(image, flow, padding="zeros"):
    """`image` sampled bilinearly where `flow` points."""
    return sample(image, *sampling_points(flow), padding=padding)


def warp_nearest4(image, flow):
    """The four pixels around the point where `flow` points, stacked on channels."""
    x, y = sampling_points(flow)
    columns, rows = (x.floor(), x.ceil()), (y.floor(), y.ceil())
    corners = [sample(image, cx, cy, mode="nearest") for cx in columns for cy in rows]
    return torch.cat(corners, dim=1)


class SpyNetLevel(nn.Module):
    """Five convolutions that correct the flow at one scale."""

    WIDTHS = (8, 32, 64, 32, 16, 2)

    def __init__(self):
        super().__init__()
        layers = []
        for inputs, outputs in zip(self.WIDTHS, self.WIDTHS[1:]):
            layers += [nn.Conv2d(inputs, outputs, 7, padding=3), nn.ReLU()]
        self.basic_module = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.basic_module(x)


class SpyNet(nn.Module):
    """Optical flow from coarse to fine (arXiv:1611.00850), at scales 1, 1/2, 1/4 and 1/8."""

    LEVELS = 6
    OUTPUTS = 4
    MULTIPLE = 32

    def __init__(self):
        super().__init__()
        self.basic_module = nn.ModuleList(SpyNetLevel() for _ in range(self.LEVELS))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def pyramid(self, image):
        """The normalised picture at every level, coarsest first."""
        size = [-(-n // self.MULTIPLE) * self.MULTIPLE for n in image.shape[-2:]]
        image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        levels = [(image - self.mean) / self.std]
        while len(levels) < self.LEVELS:
            levels.append(F.avg_pool2d(levels[-1], kernel_size=2, stride=2))
        return levels[::-1]

    def forward(self, reference, other):
        """Flow from `reference` to `other`, both `[b, 3, h, w]`: `[b, 2, ⌊h/2^i⌋, ⌊w/2^i⌋]`."""
        h, w = reference.shape[-2:]
        references, others = self.pyramid(reference), self.pyramid(other)
        flow = torch.zeros_like(references[0][:, :2])
        flows = []
        for level, ref, oth in zip(self.basic_module, references, others):
            if flows:
                flow = 2.0 * F.interpolate(
                    flow, scale_factor=2, mode="bilinear", align_corners=True
                )
            warped = warp(oth, flow, padding="border")
            flow = level(torch.cat((ref, warped, flow), dim=1)) + flow
            flows.append(flow)
        finest_first = flows[: -self.OUTPUTS - 1 : -1]
        return [resize_flow(f, h >> i, w >> i) for i, f in enumerate(finest_first)]


def resize_flow(flow, h, w):
    """A flow resized to `h` × `w`, its vectors scaled along."""
    factors = flow.new_tensor((w / flow.shape[3], h / flow.shape[2])).view(1, 2, 1, 1)
    return F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False) * factors


def ahead(sequence, t, reach):
    """Elements t+1 … t+reach of a list, nearest first, `None` where it has ended."""
    return [sequence[t + k] if t + k < len(sequence) else None for k in range(1, reach + 1)]


def reached_flows(steps, t, reach):
    """Flows from frame t to t+1 … t+reach, `None` past the end; `steps` lead to the next frame."""
    flows = []
    for step in ahead([None, *steps], t, reach):
        if step is None or not flows:
            flows.append(step)
        else:
            flows.append(flows[-1] + warp(step, flows[-1]))
    return flows
