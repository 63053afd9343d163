"""Holds the network, its gradients and its parameter counts to golden ones; exit 1 if it fails."""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from attention import ATTENTIONS
from presets import PRESETS, Config
from vrt_torch import Vrt, load_parameters

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = {
    "001": 30_676_435,
    "002": 35_134_783,
    "003": 32_577_991,
    "004": 32_577_991,
    "005": 18_320_007,
    "006": 18_320_007,
    "007": 18_320_007,
    "008": 18_320_871,
    "009": 9_943_387,
    "006-spike": 18_327_783,
    "deblur-spike": 30_286_131,
}
ALL_WITHIN = 2e-5
MEAN_WITHIN = 5e-5
MOST_WITHIN = 2e-4
MOST = 0.99
GRADIENTS_WITHIN = 1e-2
LOSS = "mean((y - 0.5)^2)"


class Golden:
    """A model fixture: configuration, parameters, input and expected output."""

    def __init__(self, path):
        with safe_open(path, "pt") as file:
            metadata = {key: json.loads(value) for key, value in file.metadata().items()}
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        self.config = Config.published(metadata["config"])
        self.crop = slices(metadata["out_crop"]) if "out_crop" in metadata else ...
        self.input = tensors["in.x"]
        self.output = next(value for key, value in tensors.items() if key.startswith("out."))
        self.parameters = {
            key.removeprefix("param."): value
            for key, value in tensors.items()
            if key.startswith("param.")
        }
        self.loss = metadata.get("loss")
        self.gradients = {
            key.removeprefix("grad."): value
            for key, value in tensors.items()
            if key.startswith("grad.")
        }

    @property
    def strict(self):
        """Whether every value must be close: no pixel is chosen by rounding a flow."""
        return self.config.upscale > 1 or not self.config.reach


def slices(text):
    """The slices of a text such as `y[:, 1:3, -100:]`."""
    parts = text[text.index("[") + 1 : text.index("]")].split(",")
    ends = [[int(end) if end.strip() else None for end in part.split(":")] for part in parts]
    return tuple(slice(*pair) for pair in ends)


def parameters_of(path, golden, spynet):
    """What to load: the fixture's parameters and SpyNet's, or those of a `.pth` checkpoint."""
    if path.suffix == ".pth":
        return torch.load(path, weights_only=True)["params"]
    if not golden.config.reach:
        return golden.parameters
    return golden.parameters | {f"spynet.{key}": value for key, value in spynet.items()}


def difference(model, golden):
    """The difference of every output value, relative to the largest golden one."""
    with torch.no_grad():
        output = model(golden.input)[golden.crop]
    if output.shape != golden.output.shape:
        raise ValueError(f"output {tuple(output.shape)}, golden {tuple(golden.output.shape)}")
    return (output - golden.output).abs() / golden.output.abs().max()


def passes(error, strict):
    """Whether a difference is within the tolerances for whole networks."""
    if strict:
        return error.max().item() <= ALL_WITHIN
    most = (error <= MOST_WITHIN).double().mean().item() >= MOST
    return most and error.mean().item() <= MEAN_WITHIN


def check_file(path, spynet, attention):
    """Runs one fixture, prints a line, and says whether it passed."""
    golden = Golden(path.with_suffix(".safetensors"))
    model = Vrt(golden.config, attention).eval()
    load_parameters(model, parameters_of(path, golden, spynet))
    error = difference(model, golden)
    good = passes(error, golden.strict)
    within = (error <= MOST_WITHIN).double().mean().item()
    print(
        f"{'ok  ' if good else 'FAIL'} {path.name:26} {attention:5} "
        f"largest {error.max().item():.1e}  mean {error.mean().item():.1e}  "
        f"within {MOST_WITHIN:.0e}: {100 * within:.3f} %",
        flush=True,
    )
    return good


def gradients_of(model, golden):
    """The gradients that a fixture names, of its loss over the whole output."""
    x = golden.input.clone().requires_grad_()
    (model(x) - 0.5).square().mean().backward()
    parameters = {f"param.{name}": p for name, p in model.named_parameters()} | {"in.x": x}
    return {name: parameters[name].grad for name in golden.gradients}


def check_gradients(path, spynet, attention, recompute):
    """Takes the gradients of one fixture, prints a line, and says whether they are right.

    With `recompute`, every block is computed again in the backward pass.
    """
    golden = Golden(path)
    if golden.loss != LOSS:
        raise ValueError(f"{path}: its loss is {golden.loss}, known is {LOSS}")
    model = Vrt(golden.config, attention)
    load_parameters(model, parameters_of(path, golden, spynet))
    layers = set(range(len(golden.config.depths))) if recompute else set()
    model.set_recompute(layers, layers)
    within, largest = 1.0, 0.0
    for name, gradient in gradients_of(model, golden).items():
        error = (gradient - golden.gradients[name]).abs() / golden.gradients[name].abs().max()
        within = min(within, (error <= GRADIENTS_WITHIN).double().mean().item())
        largest = max(largest, error.max().item())
    good = within >= MOST
    what = "gradients again" if recompute else "gradients"
    print(
        f"{'ok  ' if good else 'FAIL'} {path.name:26} {attention:5} {what:15} "
        f"largest {largest:.1e}  within {GRADIENTS_WITHIN:.0e}: {100 * within:.3f} %",
        flush=True,
    )
    return good


def check_count(name, expected):
    """Counts a preset's parameters, prints a line, and says whether they are as published."""
    with torch.device("meta"):
        model = Vrt(PRESETS[name])
    count = sum(parameter.numel() for parameter in model.parameters())
    good = count == expected
    print(f"{'ok  ' if good else 'FAIL'} {name:26} {count:,} parameters (published {expected:,})")
    return good


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fixtures", type=Path, default=ROOT / "fixtures")
    parser.add_argument("--spynet", type=Path, default=ROOT / "weights" / "spynet.safetensors")
    parser.add_argument("--attention", choices=[*ATTENTIONS, "both"], default="both")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main():
    """Checks parameter counts, then every file in the fixtures' models/, then its gradients."""
    arguments = parse_arguments()
    torch.set_flush_denormal(True)
    torch.set_num_threads(arguments.threads)
    models = arguments.fixtures / "models"
    files = sorted(path for path in models.glob("*") if path.suffix in (".safetensors", ".pth"))
    if not files:
        sys.exit(f"{models}: no model fixtures; name their folder with --fixtures")
    attentions = ATTENTIONS if arguments.attention == "both" else (arguments.attention,)
    spynet = load_file(arguments.spynet)
    results = [check_count(name, expected) for name, expected in PARAMETERS.items()]
    results += [check_file(path, spynet, a) for path in files for a in attentions]
    golden = [path for path in files if path.suffix == ".safetensors"]
    results += [
        check_gradients(path, spynet, attention, recompute)
        for path in golden
        for attention in attentions
        for recompute in (False, True)
    ]
    print(f"{sum(results)} of {len(results)} passed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
