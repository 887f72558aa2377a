"""The gain of head corrections on the reference world, at equal neighbourhood success.

    python -m factd.bench.quality.heads [--language en]
        [--json FILE] [--plot FILE] [--relevance FILE]

Only English is written. MEMIT is measured at several second-moment weights and step sizes. Every
arm of MEMAT (heads chosen by probes, at random, as released, ITI's center-of-mass directions;
several K) is measured at several lengths of its corrections, on top of two of the weights. All
scores are teacher forced: magnitude of the edit prompts (EM), of other wordings (PM), and
neighbourhood success (NS), in the written language and in languages that were neither written nor
used for the heads. The last table compares the best point of every arm whose NS is at most 0.01
below MEMIT's. Arms that are in the JSON file already are not measured again, so an interrupted run
can be resumed.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from factd.bench.quality.world import (
    WORKSPACE,
    BenchWorld,
    open_world,
    save,
    saved,
    table,
    teacher_forced,
)
from factd.daemon.prompts import edits
from factd.editor.deltas.delta import Delta, applied
from factd.editor.heads.corrections import HeadCorrections, with_heads
from factd.editor.heads.training import HeadSettings
from factd.editor.methods import memat, memit
from factd.editor.reports.plots import relevance_figure
from factd.editor.scoring.score import Probe

WRITTEN = "en"
MEMIT = "memit"
SERVED = ("en", "es", "fr")
WEIGHTS = (4.0, 60.0, 300.0, 1200.0, 4000.0)
LENGTHS = (0.5, 1.0, 1.5, 2.0)  # in units of the trained corrections


@dataclass(frozen=True)
class ArmResult:
    """The scores of one setting of one arm."""

    arm: str
    strength: str
    scores: dict[str, dict[str, float]]  # language -> metric -> value


def measure(
    world: BenchWorld, probes: Sequence[Probe], arm: str, strength: str, delta: Delta
) -> ArmResult:
    """The scores of a delta; they are printed too."""
    with applied(world.model, delta):
        scores = teacher_forced(world.model, probes, world.settings.terminator)
    said = "  ".join(
        f"{k} EM {s['EM']:+.3f} PM {s['PM']:+.3f} NS {s['NS']:.3f}" for k, s in scores.items()
    )
    print(f"{arm:<22} {strength:<26} {said}", flush=True)
    return ArmResult(arm, strength, scores)


def memit_curve(world: BenchWorld, probes: Sequence[Probe]) -> list[ArmResult]:
    """MEMIT at several second-moment weights, with the tuned step size and with a larger one."""
    found = []
    for factor in (1.0, 1.5):
        for weight in WEIGHTS if factor == 1.0 else WEIGHTS[:3]:
            delta = memit_delta(world, weight, factor)
            found.append(measure(world, probes, MEMIT, f"λ {weight:g}, lr ×{factor:g}", delta))
    return found


def memit_delta(world: BenchWorld, weight: float, factor: float = 1.0) -> Delta:
    """The delta of MEMIT in English. weight: of the second moment; factor: of the step size."""
    lr = world.settings.v_lr * factor
    settings = replace(world.settings, second_moment_weight=weight, v_lr=lr)
    return memit.edit(world.model, world.batch(WRITTEN), settings=settings, workspace=WORKSPACE)


def arms(language: str) -> dict[str, HeadSettings]:
    """The arms of MEMAT by name. language: of the head corrections."""
    plain = HeadSettings(lr=0.03, epochs=2)
    found = {f"probes K={k}": replace(plain, count=k) for k in (16, 8, 32, 48)}
    found |= {f"gradient K={k}": replace(plain, count=k, choice="gradient") for k in (8, 4, 2)}
    found |= {
        f"random K={k} seed {seed}": replace(plain, count=k, choice="random", seed=seed)
        for k, seed in ((16, 0), (8, 0), (8, 1), (4, 0), (4, 1), (2, 0), (2, 1), (2, 2))
    }
    found["without other facts held, K=16"] = replace(plain, still_factor=0.0)
    found["as released K=16"] = replace(plain, form="as-released")
    found["ITI K=16"] = replace(plain, form="center-of-mass", strength=1.0)
    return found


def memat_curve(
    world: BenchWorld,
    probes: Sequence[Probe],
    arm: str,
    deltas: Mapping[float, Delta],
    language: str,
) -> list[ArmResult]:
    """An arm at several lengths of its corrections, on top of MEMIT's deltas.

    deltas: by second-moment weight; the corrections are trained on the last one.
    """
    corrections = train(world, probes, arm, deltas[max(deltas)], language)
    found = []
    for weight, delta in deltas.items():
        for length in LENGTHS:
            scaled = replace(corrections, vectors=corrections.vectors * length)
            both = with_heads(world.model, delta, [scaled])
            found.append(measure(world, probes, arm, f"λ {weight:g}, length ×{length:g}", both))
    return found


def train(
    world: BenchWorld, probes: Sequence[Probe], arm: str, delta: Delta, language: str
) -> HeadCorrections:
    """Train the head corrections of an arm."""
    return memat.train_corrections(
        world.model,
        world.batch(language).edits,
        delta,
        language,
        heads=arms(language)[arm],
        settings=world.settings,
        templates_of=(WRITTEN,),
        still=unrelated_prompts(world, probes, language),
    )


def unrelated_prompts(world: BenchWorld, probes: Sequence[Probe], language: str) -> list[str]:
    """Prompts about known facts that no probe asks about.

    The corrections must not change their answers.
    """
    asked = {probe.fact for probe in probes}
    facts = [f for f in world.known if f.id not in asked and language in f.subject.labels]
    free = [f for f in facts if f.relation == "P38"] + [f for f in facts if f.relation != "P38"][
        ::8
    ]
    return edits.first_edit_prompts(free, language, world.catalogue)


def best_at_level(
    points: Sequence[ArmResult], language: str, level: float, metric: str = "EM"
) -> float:
    """The highest magnitude in a language where neighbourhood success is at least the level.

    nan if no point reaches it.
    """
    allowed = [p.scores[language][metric] for p in points if p.scores[language]["NS"] >= level]
    return max(allowed, default=float("nan"))


def compare_arms(points: Sequence[ArmResult], languages: Sequence[str]) -> list[dict[str, Any]]:
    """The best magnitude of every arm, at no less than MEMIT's neighbourhood success minus 0.01.

    MEMIT's neighbourhood success is taken where MEMIT has its highest magnitude.
    """
    curves: dict[str, list[ArmResult]] = {}
    for point in points:
        curves.setdefault(point.arm, []).append(point)
    rows = []
    for arm, curve in curves.items():
        row: dict[str, Any] = {"arm": arm}
        for k in languages:
            best = max(curves[MEMIT], key=lambda p: p.scores[k]["EM"])
            row[f"EM {k}"] = best_at_level(curve, k, best.scores[k]["NS"] - 0.01)
            row[f"gain {k}"] = row[f"EM {k}"] - best.scores[k]["EM"]
        rows.append(row)
    return rows


def plot(points: Sequence[ArmResult], languages: Sequence[str], path: Path) -> None:
    """Plot magnitude against neighbourhood success, one plot per language."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(languages), 5.2))
    panels = figure.subplots(1, len(languages))
    every = list(dict.fromkeys(p.arm for p in points))
    for axes, language in zip(panels, languages, strict=True):
        for number, arm in enumerate(every):
            chosen = sorted(
                (p.scores[language]["NS"], p.scores[language]["EM"]) for p in points if p.arm == arm
            )
            mark = "^" if arm == MEMIT else "x" if "random" in arm else "o"
            colour = "black" if arm == MEMIT else colormaps["tab20"](number)
            axes.plot(
                [x for x, _ in chosen],
                [y for _, y in chosen],
                mark,
                label=arm,
                color=colour,
                markersize=5,
            )
        axes.set_title(f"{language} ({'written' if language == WRITTEN else 'only served'})")
        axes.set_xlabel("neighbourhood success")
        axes.set_ylabel("magnitude of the edit prompts")
        axes.set_xlim(0.93, 1.005)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=8, fontsize=7)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path, dpi=100)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--language", default=WRITTEN, help="language of the head corrections")
    parser.add_argument("--weights", type=float, nargs="*", default=[4.0, 60.0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--relevance", type=Path)
    options = parser.parse_args()
    world = open_world(neighbours=3)
    served = tuple(k for k in SERVED if k != options.language or k == WRITTEN)
    world = replace(world, plan=replace(world.plan, served=served))
    every = world.probes()
    probes = [p for p in every if p.kind != "known"]
    points = earlier_points(options.json)
    done = {point.arm for point in points}
    deltas = {weight: memit_delta(world, weight) for weight in options.weights}
    for arm in (MEMIT, *arms(options.language)):
        if arm in done:
            continue
        if arm == MEMIT:
            points += memit_curve(world, probes)
        else:
            points += memat_curve(world, probes, arm, deltas, options.language)
        save(options.json, "heads", {"points": [asdict(p) for p in points]})
    rows = compare_arms(points, served)
    save(options.json, "heads", {"points": [asdict(p) for p in points], "compared": rows})
    if options.plot:
        plot(points, served, options.plot)
    if options.relevance:
        best = train(world, probes, "probes K=16", deltas[max(deltas)], options.language)
        figure = relevance_figure(best.relevance, best.heads)
        figure.tight_layout()
        figure.savefig(options.relevance, dpi=110)
    print(table(rows))


def earlier_points(path: Path | None) -> list[ArmResult]:
    """The points of an earlier run in a JSON file."""
    held = saved(path) or {"points": []}
    return [ArmResult(p["arm"], p["strength"], p["scores"]) for p in held["points"]]


if __name__ == "__main__":
    main()
