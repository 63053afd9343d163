"""VRT (arXiv:2201.12288) in PyTorch: the network that benchmarks compare with.

Parameters carry the published names and layouts, so published checkpoints load strictly.
Feature maps are `[b, c, d, h, w]` between modules and `[b, d, h, w, c]` inside blocks.
"""

import math
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import deform_conv2d

from attention import ATTENTIONS, WindowAttention
from flow import SpyNet, ahead, reached_flows, warp, warp_nearest4

RGB = 3
SCALES = (1, 2, 4, 8, 4, 2, 1)
PAIR_WINDOW = (2, 8, 8)
UPSAMPLE_FEATURES = 64
MUTUAL_SHARE = 0.75
MASKED = -100.0


def channels_last(x):
    """`[b, c, d, h, w]` to `[b, d, h, w, c]`."""
    return x.permute(0, 2, 3, 4, 1)


def channels_first(x):
    """`[b, d, h, w, c]` to `[b, c, d, h, w]`."""
    return x.permute(0, 4, 1, 2, 3)


class GatedMlp(nn.Module):
    """A linear layer gated by the GELU of another, and one to the output."""

    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        self.fc11 = nn.Linear(inputs, hidden)
        self.fc12 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc11(x)) * self.fc12(x))


def effective_window(dims, window, shifted):
    """Window and shift for a map of size `dims`: no larger than the map, no shift where it fits."""
    size = tuple(min(n, w) for n, w in zip(dims, window))
    shift = tuple(w // 2 if shifted and n > w else 0 for n, w in zip(dims, window))
    return size, shift


def padded(dims, window):
    """`dims` rounded up to multiples of the window."""
    return tuple(-(-n // w) * w for n, w in zip(dims, window))


def to_windows(x, window):
    """`[b, d, h, w, c]` to `[b·windows, tokens, c]`."""
    b, d, h, w, c = x.shape
    wd, wh, ww = window
    x = x.view(b, d // wd, wd, h // wh, wh, w // ww, ww, c)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, wd * wh * ww, c)


def from_windows(x, window, dims):
    """The inverse of `to_windows`."""
    (d, h, w), (wd, wh, ww) = dims, window
    x = x.view(-1, d // wd, h // wh, w // ww, wd, wh, ww, x.shape[-1])
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, d, h, w, x.shape[-1])


@lru_cache(maxsize=64)
def shift_mask(dims, window, shift):
    """What to add to the logits of a rolled map of size `dims`: `[windows, tokens, tokens]`."""
    region = torch.zeros(1, *dims, 1)
    for axis, (n, w, s) in enumerate(zip(dims, window, shift)):
        if s:
            place = torch.arange(n)
            along = (place >= n - w).float() + (place >= n - s).float()
            shape = [1] * 5
            shape[axis + 1] = n
            region = 3 * region + along.view(shape)
    region = to_windows(region, window).squeeze(2)
    differs = region[:, :, None] != region[:, None]
    return differs.float() * MASKED


class Block(nn.Module):
    """Window attention and a gated MLP, each on normalised input and added to it.

    What is to be recomputed keeps its input alone for the backward pass.
    """

    def __init__(self, dim, window, heads, mutual, shifted):
        super().__init__()
        self.window = window
        self.shifted = shifted
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window, heads, mutual)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GatedMlp(dim, 2 * dim, dim)
        self.recompute_attention = False
        self.recompute_mlp = False

    def mask(self, dims):
        """The mask for a map of size `dims`, `None` where nothing is shifted."""
        window, shift = effective_window(dims, self.window, self.shifted)
        return shift_mask(padded(dims, window), window, shift) if any(shift) else None

    def attention(self, x, mask):
        """Attention over `[b, d, h, w, c]`, padded to whole windows and rolled."""
        d, h, w = dims = tuple(x.shape[1:4])
        window, shift = effective_window(dims, self.window, self.shifted)
        pd, ph, pw = full = padded(dims, window)
        x = F.pad(self.norm1(x), (0, 0, 0, pw - w, 0, ph - h, 0, pd - d))
        if mask is not None:
            x = torch.roll(x, [-s for s in shift], dims=(1, 2, 3))
        x = from_windows(self.attn(to_windows(x, window), mask), window, full)
        if mask is not None:
            x = torch.roll(x, shift, dims=(1, 2, 3))
        return x[:, :d, :h, :w]

    def feed(self, x):
        """The MLP on normalised input."""
        return self.mlp(self.norm2(x))

    def forward(self, x, mask):
        if self.recompute_attention:
            x = x + checkpoint(self.attention, x, mask, use_reentrant=False)
        else:
            x = x + self.attention(x, mask)
        if self.recompute_mlp:
            return x + checkpoint(self.feed, x, use_reentrant=False)
        return x + self.feed(x)


class Group(nn.Module):
    """Blocks, every second one shifted by half a window, on `[b, c, d, h, w]`."""

    def __init__(self, dim, depth, window, heads, mutual):
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(dim, window, heads, mutual, shifted=i % 2 == 1) for i in range(depth)
        )

    def forward(self, x):
        x = channels_last(x)
        dims = tuple(x.shape[1:4])
        for block in self.blocks:
            x = block(x, block.mask(dims))
        return channels_first(x)


class Rtmsa(nn.Module):
    """A group of self attention and a linear layer, added to the input."""

    def __init__(self, dim, depth, window, heads):
        super().__init__()
        self.residual_group = Group(dim, depth, window, heads, mutual=False)
        self.linear = nn.Linear(dim, dim)

    def forward(self, x):
        return x + channels_first(self.linear(channels_last(self.residual_group(x))))


class DeformableAlignment(nn.Module):
    """Neighbours' features brought to a frame by a deformable convolution that flows guide."""

    TAPS = 9

    def __init__(self, dim, reach, groups, magnitude):
        super().__init__()
        self.magnitude = magnitude
        self.weight = nn.Parameter(torch.zeros(dim, dim, 3, 3))
        self.bias = nn.Parameter(torch.zeros(dim))
        inputs = (1 + reach) * dim + 2 * reach
        conv = partial(nn.Conv2d, kernel_size=3, padding=1)
        relu = partial(nn.LeakyReLU, negative_slope=0.1)
        self.conv_offset = nn.Sequential(
            *(conv(inputs, dim), relu(), conv(dim, dim), relu(), conv(dim, dim), relu()),
            conv(dim, 3 * self.TAPS * groups),
        )

    def forward(self, neighbours, warped, current, flows):
        """Lists hold one `[b, c, h, w]` or flow a neighbour, nearest first."""
        seen = self.conv_offset(torch.cat((*warped, current, *flows), dim=1))
        first, second, logits = seen.chunk(3, dim=1)
        residue = self.magnitude * torch.tanh(torch.cat((first, second), dim=1))
        parts = residue.chunk(len(flows), dim=1)
        moved = [p + f.flip(1).repeat(1, p.shape[1] // 2, 1, 1) for p, f in zip(parts, flows)]
        offset = torch.cat(moved, dim=1)
        with torch.autocast(current.device.type, enabled=False):
            return deform_conv2d(
                torch.cat(neighbours, dim=1).float(),
                offset.float(),
                self.weight,
                self.bias,
                padding=1,
                mask=torch.sigmoid(logits.float()),
            )


class Resample(nn.ModuleDict):
    """Space to depth or back by two, a norm and, where the size changes, a linear layer."""

    def __init__(self, inputs, outputs, kind):
        width = {"none": inputs, "down": 4 * inputs, "up": inputs // 4}[kind]
        layers = {"1": nn.LayerNorm(width)}
        if kind != "none":
            layers["2"] = nn.Linear(width, outputs)
        super().__init__(layers)
        self.kind = kind

    def rearrange(self, x):
        """Four pixels to channels (column, row, channel), or channels to four pixels."""
        b, d, h, w, c = x.shape
        if self.kind == "down":
            x = x.view(b, d, h // 2, 2, w // 2, 2, c).permute(0, 1, 2, 4, 5, 3, 6)
            return x.reshape(b, d, h // 2, w // 2, 4 * c)
        if self.kind == "up":
            x = x.view(b, d, h, w, 2, 2, c // 4).permute(0, 1, 2, 5, 3, 4, 6)
            return x.reshape(b, d, 2 * h, 2 * w, c // 4)
        return x

    def forward(self, x):
        x = self["1"](self.rearrange(channels_last(x).contiguous()))
        return channels_first(self["2"](x) if "2" in self else x)


class Stage(nn.Module):
    """One scale of the network: resample, attend in pairs and in clips, align."""

    def __init__(self, config, index):
        super().__init__()
        dim, depth = config.embed_dims[index], config.depths[index]
        heads, scale = config.num_heads[index], SCALES[index]
        before = SCALES[index - 1] if index else scale
        kind = "down" if scale > before else "up" if scale < before else "none"
        pairs = int(depth * MUTUAL_SHARE)
        self.reach = config.reach
        self.reshape = Resample(config.embed_dims[max(index - 1, 0)], dim, kind)
        self.residual_group1 = Group(dim, pairs, PAIR_WINDOW, heads, mutual=True)
        self.linear1 = nn.Linear(dim, dim)
        self.residual_group2 = Group(dim, depth - pairs, config.window_size, heads, mutual=False)
        self.linear2 = nn.Linear(dim, dim)
        if self.reach:
            groups = config.deformable_groups
            self.pa_deform = DeformableAlignment(dim, self.reach, groups, 10.0 / scale)
            self.pa_fuse = GatedMlp(3 * dim, 3 * dim, dim)

    def brought(self, frames, steps):
        """For each frame, its later neighbours brought to it; `steps[t]` is the flow t to t+1."""
        aligned = []
        for t, current in enumerate(frames):
            features = ahead(frames, t, self.reach)
            if features[0] is None:
                aligned.append(torch.zeros_like(current))
                continue
            flows = reached_flows(steps, t, self.reach)
            features = [torch.zeros_like(current) if f is None else f for f in features]
            flows = [torch.zeros_like(steps[0]) if f is None else f for f in flows]
            warped = [warp(x, flow) for x, flow in zip(features, flows)]
            aligned.append(self.pa_deform(features, warped, current, flows))
        return aligned

    def align(self, x, backward, forward):
        """`x` fused with its neighbours from both sides; flows are lists of `[b, 2, h, w]`."""
        frames = list(x.unbind(2))
        later = torch.stack(self.brought(frames, backward), dim=2)
        earlier = torch.stack(self.brought(frames[::-1], forward[::-1])[::-1], dim=2)
        fused = self.pa_fuse(channels_last(torch.cat((x, later, earlier), dim=1)))
        return channels_first(fused)

    def forward(self, x, backward, forward):
        x = self.reshape(x)
        x = x + channels_first(self.linear1(channels_last(self.residual_group1(x))))
        x = x + channels_first(self.linear2(channels_last(self.residual_group2(x))))
        return self.align(x, backward, forward) if self.reach else x


class Upsample(nn.ModuleDict):
    """Convolutions and pixel shuffles to `factor` times the size."""

    def __init__(self, factor):
        steps = [3] if factor == 3 else [2] * (factor.bit_length() - 1)
        if math.prod(steps) != factor:
            raise ValueError(f"upscale is {factor}: it must be 1, 3 or a power of two")
        c = UPSAMPLE_FEATURES
        widths = [c * step * step for step in steps] + [c]
        super().__init__({str(5 * i): conv_frames(c, width) for i, width in enumerate(widths)})
        self.steps = steps

    def forward(self, x):
        *convs, last = self.values()
        for conv, step in zip(convs, self.steps):
            x = F.pixel_shuffle(conv(x).transpose(1, 2), step).transpose(1, 2)
            x = F.leaky_relu(x, 0.1)
        return last(x)


def conv_frames(inputs, outputs):
    """A 3×3 convolution of each frame."""
    return nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1))


class Widen(nn.ModuleDict):
    """A norm and a linear layer to the width of stage 8."""

    def __init__(self, inputs, outputs):
        super().__init__({"1": nn.LayerNorm(inputs), "2": nn.Linear(inputs, outputs)})

    def forward(self, x):
        return channels_first(self["2"](self["1"](channels_last(x))))


class Vrt(nn.Module):
    """The network: `[b, d, c, h, w]`, RGB first and in 0…1, to restored RGB frames."""

    def __init__(self, config, attention="eager"):
        super().__init__()
        self.config = config
        dims, last = config.embed_dims, config.embed_dims[-1]
        seen = 9 * config.in_chans if config.reach else config.in_chans
        self.conv_first = conv_frames(seen + config.nonblind_denoising, dims[0])
        if config.reach:
            self.spynet = SpyNet()
        for i in range(len(SCALES)):
            setattr(self, f"stage{i + 1}", Stage(config, i))
        self.stage8 = nn.ModuleList([Widen(dims[6], dims[7]), *self.reconstruction()])
        self.norm = nn.LayerNorm(last)
        self.conv_after_body = nn.Linear(last, dims[0])
        self.add_output()
        self.set_attention(attention)

    def reconstruction(self):
        """The groups of stage 8."""
        c = self.config
        for i in range(len(SCALES), len(c.depths)):
            window = (1, *c.window_size[1:]) if i in c.indep_reconsts else c.window_size
            yield Rtmsa(c.embed_dims[i], c.depths[i], window, c.num_heads[i])

    def add_output(self):
        """The layers from features to pictures."""
        c, features = self.config, UPSAMPLE_FEATURES
        if not c.reach:
            self.linear_fuse = nn.Conv2d(c.frames * c.embed_dims[0], features, 1)
            self.conv_last = nn.Conv2d(features, c.out_chans, 7)
        elif c.upscale == 1:
            self.conv_last = conv_frames(c.embed_dims[0], c.out_chans)
        else:
            before = conv_frames(c.embed_dims[0], features)
            self.conv_before_upsample = nn.Sequential(before, nn.LeakyReLU(0.01))
            self.upsample = Upsample(c.upscale)
            self.conv_last = conv_frames(features, c.out_chans)

    def set_attention(self, attention):
        """Chooses how attention is computed: "eager" or "fused"."""
        for module in self.modules():
            if isinstance(module, WindowAttention):
                module.attend = ATTENTIONS[attention]

    def set_recompute(self, attention, mlp):
        """Chooses the layers whose blocks recompute attention and MLP in the backward pass.

        Layers are numbered as in the published option files: seven stages from 0, then the groups
        of stage 8.
        """
        layers = [getattr(self, f"stage{i + 1}") for i in range(len(SCALES))]
        for i, layer in enumerate([*layers, *self.stage8[1:]]):
            for block in (module for module in layer.modules() if isinstance(module, Block)):
                block.recompute_attention = i in attention
                block.recompute_mlp = i in mlp

    def flows(self, x):
        """Backward and forward flows between neighbours: per scale, a list of `[b, 2, h, w]`."""
        b, d, _, h, w = x.shape
        rgb = x[:, :, :RGB]
        earlier = rgb[:, :-1].reshape(-1, RGB, h, w)
        later = rgb[:, 1:].reshape(-1, RGB, h, w)

        def per_frame(flow):
            return list(flow.view(b, d - 1, *flow.shape[1:]).unbind(1))

        backward = [per_frame(flow) for flow in self.spynet(earlier, later)]
        forward = [per_frame(flow) for flow in self.spynet(later, earlier)]
        return backward, forward

    def compose(self, x, backward, forward):
        """Each frame with its two neighbours warped to it, and the noise map last."""
        c = self.config.in_chans
        frames = [frame[:, :c] for frame in x.unbind(1)]
        nothing = torch.zeros_like(frames[0]).repeat(1, 4, 1, 1)
        later = [warp_nearest4(f, flow) for f, flow in zip(frames[1:], backward)] + [nothing]
        earlier = [nothing] + [warp_nearest4(f, flow) for f, flow in zip(frames, forward)]
        later, earlier = torch.stack(later, dim=1), torch.stack(earlier, dim=1)
        return torch.cat((x[:, :, :c], later, earlier, x[:, :, c:]), dim=2)

    def features(self, x, backward, forward):
        """The stages, with their skips, on `[b, c, d, h, w]`."""
        kept = []
        for i, scale in enumerate(SCALES):
            skip = kept[7 - i] if i >= 5 else 0
            at = scale.bit_length() - 1
            x = getattr(self, f"stage{i + 1}")(x + skip, backward[at], forward[at])
            kept.append(x)
        x = x + kept[0]
        for part in self.stage8:
            x = part(x)
        return channels_first(self.conv_after_body(self.norm(channels_last(x))))

    def restored(self, features, x):
        """Pictures from features, added to the input at the size of the output."""
        x = x[:, :, : self.config.out_chans]
        if self.config.upscale == 1:
            return self.conv_last(features).transpose(1, 2) + x
        features = self.upsample(self.conv_before_upsample(features))
        b, d, c, h, w = x.shape
        factor = self.config.upscale
        size = (factor * h, factor * w)
        large = F.interpolate(x.reshape(-1, c, h, w), size=size, mode="bilinear")
        return self.conv_last(features).transpose(1, 2) + large.view(b, d, c, *size)

    def between(self, features):
        """One picture `[b, 1, c, h, w]` from the features of all frames."""
        stacked = features.transpose(1, 2).flatten(1, 2)
        y = F.leaky_relu(self.linear_fuse(stacked), 0.2)
        return self.conv_last(F.pad(y, (3, 3, 3, 3), mode="reflect"))[:, None]

    def forward(self, x):
        check_size(x, self.config)
        if self.config.reach:
            backward, forward = self.flows(x)
            seen, mean = self.compose(x, backward[0], forward[0]), None
        else:
            backward = forward = [None] * 4
            mean = x.mean(dim=(1, 3, 4), keepdim=True)
            seen = x - mean
        first = self.conv_first(seen.transpose(1, 2))
        features = first + self.features(first, backward, forward)
        if mean is not None:
            return self.between(features) + mean
        return self.restored(features, x)


def check_size(x, config):
    """Raises `ValueError` for a shape that the published network cannot restore."""
    _, d, c, h, w = x.shape
    if c != config.input_channels:
        raise ValueError(f"the input has {c} channels, the network takes {config.input_channels}")
    if d < 2 or min(h, w) < 64 or h % 8 or w % 8:
        raise ValueError(f"{d}x{h}x{w}: needs at least 2x64x64, height and width multiples of 8")
    if not config.reach and d != config.frames:
        raise ValueError(f"the input has {d} frames, the network takes {config.frames}")


def initialise(model, seed):
    """Random initial weights, the same for the same seed; SpyNet's are random as well."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Conv3d)):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, WindowAttention):
            nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)
        elif isinstance(module, DeformableAlignment):
            bound = 1 / math.sqrt(9 * module.weight.shape[1])
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.conv_offset[-1].weight)
            nn.init.zeros_(module.conv_offset[-1].bias)


def load_parameters(model, state):
    """Loads a published state strictly; only buffers, which are fixed, may be left out."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    model.load_state_dict(dict(model.named_buffers()) | state, strict=True)
