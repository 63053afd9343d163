"""What the published networks are made of."""

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Config:
    """What a network is made of; the field names are those of the published constructor."""

    upscale: int = 1
    in_chans: int = 3
    out_chans: int = 3
    frames: int = 6
    window_size: tuple = (6, 8, 8)
    depths: tuple = (8,) * 7 + (4,) * 4
    indep_reconsts: tuple = (9, 10)
    embed_dims: tuple = (96,) * 7 + (120,) * 4
    num_heads: tuple = field(default=())
    pa_frames: int = 2
    deformable_groups: int = 16
    nonblind_denoising: bool = False

    def __post_init__(self):
        heads = tuple(self.num_heads) or (6,) * len(self.depths)
        object.__setattr__(self, "num_heads", heads)
        reach = self.reach
        if self.pa_frames not in (0, 2, 4, 6):
            raise ValueError(f"pa_frames is {self.pa_frames}: it must be 0, 2, 4 or 6")
        for dim in self.embed_dims[:7] if reach else ():
            if dim % reach or reach * dim % self.deformable_groups:
                groups = f"{self.deformable_groups} groups"
                raise ValueError(f"{dim} channels at reach {reach} do not divide into {groups}")

    @property
    def reach(self):
        """Neighbours that alignment looks at on each side."""
        return self.pa_frames // 2

    @property
    def input_channels(self):
        """Channels of a frame of the input, with its noise map."""
        return self.in_chans + self.nonblind_denoising

    @classmethod
    def published(cls, arguments):
        """The configuration for the published constructor's arguments, as a dictionary."""
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in arguments.items() if key in known}
        if "img_size" in arguments:
            values["frames"] = arguments["img_size"][0]
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        return cls(**values | lists)


_LARGE = {
    "depths": (8,) * 7 + (4,) * 6,
    "indep_reconsts": (11, 12),
    "embed_dims": (120,) * 7 + (180,) * 6,
}


def _super_resolution(frames, depth, pa_frames, groups):
    """A published ×4 network trained on `frames` frames, in windows of `depth` of them."""
    return Config(
        upscale=4,
        frames=frames,
        window_size=(depth, 8, 8),
        pa_frames=pa_frames,
        deformable_groups=groups,
        **_LARGE,
    )


_SR_VIMEO = _super_resolution(8, 8, 4, 16)
PRESETS = {
    "001": _super_resolution(6, 6, 2, 12),
    "002": _super_resolution(16, 8, 6, 24),
    "003": _SR_VIMEO,
    "004": _SR_VIMEO,
    "005": Config(),
    "006": Config(),
    "007": Config(),
    "008": Config(nonblind_denoising=True),
    "009": Config(frames=4, window_size=(4, 8, 8), indep_reconsts=(), pa_frames=0),
    "006-spike": Config(in_chans=4),
    "deblur-spike": Config(in_chans=4, deformable_groups=12, **_LARGE),
    "tiny": Config(
        depths=(4,) * 7 + (2,) * 2,
        indep_reconsts=(8,),
        embed_dims=(12,) * 7 + (18,) * 2,
        num_heads=(3,) * 9,
        deformable_groups=4,
    ),
}

_DEBLURRING = ((2, 3, 4), (1, 2, 3, 4, 5, 9))
_KEPT = {
    "002": ((0, 1, 2, 3, 4, 5), None),
    "005": _DEBLURRING,
    "006": _DEBLURRING,
    "007": _DEBLURRING,
    "008": _DEBLURRING,
    "009": ((1, 2, 3, 4, 5), None),
}


def recomputed(preset, kind):
    """The layers whose attention and whose MLP are recomputed in the backward pass: two sets.

    `kind` is "none", "all", or "published": all but those that the published option file of the
    preset keeps.
    """
    layers = set(range(len(PRESETS[preset].depths)))
    if kind == "all":
        return layers, layers
    if kind == "none" or preset not in _KEPT:
        return set(), set()
    return tuple(set() if kept is None else layers - set(kept) for kept in _KEPT[preset])
