"""Times this project's program over tiles and clips of growing size.

Prints a table and draws a plot: cost per pixel should stay level.
"""

import argparse
import shlex
import statistics
import sys
from pathlib import Path

from bench import Failure, commit, output_of, processor

SIDES = (64, 128, 256, 512)
FRAMES = (6, 12, 24)
PIXELS = 1e6
LIMIT = 1800


def timed(command, preset, frames, side, runs):
    """Median seconds and peak gigabytes of a pass."""
    values = {"preset": preset, "size": f"{frames}x{side}x{side}", "runs": runs}
    words = [word.format(**values) for word in shlex.split(command)]
    words += ["--cold"] if runs == 1 else []
    record = output_of(words, LIMIT)
    return statistics.median(record["seconds"]), record["peak_bytes"] / 1e9


def measured(commands, preset, runs):
    """For each command and size: frames, side, seconds, gigabytes."""
    sizes = [(FRAMES[0], side) for side in SIDES] + [(count, SIDES[0]) for count in FRAMES[1:]]
    found = {name: [] for name in commands}
    for frames, side in sizes:
        for name, command in commands.items():
            print(f"{name}: {frames}x{side}x{side}", file=sys.stderr)
            repeats = runs if side < SIDES[2] else 1
            seconds, gigabytes = timed(command, preset, frames, side, repeats)
            found[name].append((frames, side, seconds, gigabytes))
    return found


def per_megapixel(frames, side, seconds):
    """Seconds for a million pixels of a frame."""
    return seconds * PIXELS / (frames * side * side)


def table(found):
    """The results in Markdown."""
    lines = ["| | tile | seconds | seconds per megapixel | peak GB |", "|---|---|---|---|---|"]
    for name, rows in found.items():
        for frames, side, seconds, gigabytes in rows:
            cost = per_megapixel(frames, side, seconds)
            lines.append(
                f"| {name} | {frames}×{side}×{side} | {seconds:.2f} | {cost:.0f} | {gigabytes:.2f} |"
            )
    return "\n".join(lines)


def plot(found, preset, path):
    """Seconds per megapixel over the side of a tile, and over its frames."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (by_side, by_frames) = pyplot.subplots(1, 2, figsize=(8, 3), sharey=True)
    for name, rows in found.items():
        costs = [(frames, side, per_megapixel(frames, side, s)) for frames, side, s, _ in rows]
        sides = [(side, cost) for frames, side, cost in costs if frames == FRAMES[0]]
        counts = [(frames, cost) for frames, side, cost in costs if side == SIDES[0]]
        by_side.plot(*zip(*sides), marker="o", label=name)
        by_frames.plot(*zip(*counts), marker="o", label=name)
    by_side.set(xlabel=f"side of a tile of {FRAMES[0]} frames, pixels", xscale="log")
    by_side.set_xticks(SIDES, SIDES)
    by_side.minorticks_off()
    by_side.set(ylabel="seconds per megapixel", title=f"{preset}: cost by size", ylim=(0, None))
    by_frames.set(xlabel=f"frames of {SIDES[0]}×{SIDES[0]}", title="cost by length")
    by_frames.set_xticks(FRAMES)
    by_frames.legend()
    figure.tight_layout()
    figure.savefig(path)


def program(text):
    """A name and a command from NAME=COMMAND."""
    name, equals, command = text.partition("=")
    if not equals:
        raise ValueError(text)
    return name, command


def main():
    """Runs the benchmark; exit 1 if a size failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    form = "NAME=COMMAND with {preset} {size} {runs}; may be repeated"
    parser.add_argument("--ours", help=form, type=program, action="append", required=True)
    parser.add_argument("--preset", default="006")
    parser.add_argument("--runs", type=int, default=3, help="timed runs; 1 from 256 pixels on")
    parser.add_argument("--plot", type=Path, help="where to write a picture")
    arguments = parser.parse_args()
    try:
        found = measured(dict(arguments.ours), arguments.preset, arguments.runs)
    except Failure as failure:
        sys.exit(str(failure))
    print(table(found))
    print(f"\nMachine: {processor()}.\nCommit: {commit()}.")
    if arguments.plot:
        plot(found, arguments.preset, arguments.plot)


if __name__ == "__main__":
    main()
