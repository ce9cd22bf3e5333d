"""Draw the learning curve of a run from its metrics.jsonl.

python -m benchmarks.curve runs/lakh-tiny docs/images/curve.png
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

INK, ACCENT = "#555555", "#1a6f7a"


def main(run: Path, out: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    split = {name: [row for row in rows if row["split"] == name] for name in ("train", "valid")}
    (unigram,) = [row for row in rows if row["split"] == "unigram"]
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for plot, key, title in zip(
        axes,
        ("tokens", "instruments"),
        ("Next token, nats", "Instrument of the next note, nats"),
        strict=True,
    ):
        train, valid = split["train"], split["valid"]
        steps = [row["step"] for row in train]
        plot.plot(steps, [row[key] for row in train], color=INK, alpha=0.4, lw=0.8)
        plot.plot(
            [row["step"] for row in valid], [row[key] for row in valid], "o-", color=ACCENT, ms=4
        )
        plot.axhline(unigram[key], color=INK, ls=":", lw=1)
        plot.annotate(
            "bare frequencies",
            (steps[-1], unigram[key]),
            ha="right",
            va="bottom",
            color=INK,
            fontsize=9,
        )
        last = valid[-1]
        plot.annotate(
            f"validation {last[key]:.2f}",
            (last["step"], last[key]),
            ha="right",
            xytext=(0, -14),
            textcoords="offset points",
            color=ACCENT,
            fontsize=9,
        )
        plot.set_title(title, loc="left", fontsize=11)
        plot.set_xlabel("step")
        plot.set_ylim(0)
        plot.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
