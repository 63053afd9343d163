"""Curves of training runs: losses of every step as a table, and all tables as one picture.

    python curves.py add NAME runs/NAME/journal.jsonl   # writes curves/NAME.tsv
    python curves.py draw                               # curves/*.tsv to curves.svg (matplotlib)
    python curves.py same NAME runs/again/journal.jsonl # are its steps those of curves/NAME.tsv?
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "curves"


def journal(path):
    """Loss by step; lines without a loss tell of other things."""
    lines = [json.loads(line) for line in open(path)]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def table(name):
    rows = (line.split("\t") for line in open(FOLDER / f"{name}.tsv"))
    return {int(step): float(loss) for step, loss in rows}


def add(name, path):
    FOLDER.mkdir(exist_ok=True)
    with open(FOLDER / f"{name}.tsv", "w") as out:
        out.writelines(f"{step}\t{loss!r}\n" for step, loss in sorted(journal(path).items()))


def same(name, path):
    committed, again = table(name), journal(path)
    if not again:
        sys.exit(f"{path} has no steps")
    apart = [step for step, loss in again.items() if committed.get(step) != loss]
    if apart:
        step = apart[0]
        sys.exit(f"{name}: step {step} is {again[step]!r}, was {committed.get(step)!r}")
    print(f"{name}: {len(again)} steps, losses the same to the last bit")


def smooth(losses, share=0.05):
    """Means over a window, because samples differ more than steps do."""
    reach = max(1, int(len(losses) * share / 2))
    spans = (losses[max(0, at - reach) : at + reach + 1] for at in range(len(losses)))
    return [sum(span) / len(span) for span in spans]


def draw():
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    names = sorted(path.stem for path in FOLDER.glob("*.tsv"))
    figure, axes = plt.subplots(1, len(names), figsize=(3.6 * len(names), 2.8), squeeze=False)
    for axis, name in zip(axes[0], names):
        losses = table(name)
        axis.plot(list(losses), list(losses.values()), color="#c8d4e0", linewidth=0.4)
        axis.plot(list(losses), smooth(list(losses.values())), color="#1f5a96")
        axis.set(title=name, xlabel="step", yscale="log")
    axes[0][0].set_ylabel("loss (Charbonnier, 0…1)")
    figure.tight_layout()
    figure.savefig(FOLDER.parent / "curves.svg", metadata={"Date": None})


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["add", name, path]:
            add(name, path)
        case ["draw"]:
            draw()
        case ["same", name, path]:
            same(name, path)
        case _:
            sys.exit(__doc__)
