"""What the words of a report mean, for somebody who meets them for the first time."""

from __future__ import annotations

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "algorithmic (implicit) bias",
        "Many solutions fit the training data. The training algorithm and the model decide which of them is "
        "found; this hidden preference is the algorithmic bias.",
    ),
    ("arm", "One recipe in the study, run with every seed: baseline, variant, and so on."),
    ("baseline, variant", "The recipe as it was, and the same recipe with the change."),
    ("lever", "A named edit of a recipe. A change that saves something and a control are both levers."),
    ("control", "A lever pulled to bring generalisation back without giving up what was saved."),
    ("gap", "Baseline minus variant on the test metric, seed by seed. Positive: the variant is worse."),
    (
        "tolerance",
        "The loss that was declared acceptable before the first run. Every decision is made against it.",
    ),
    (
        "matched fit",
        "The two arms compared at one and the same training loss, so that neither has an advantage from "
        "fitting the training data better.",
    ),
    ("bias share", "The gap at matched fit: what remains when both arms fit the training data equally well."),
    ("fit share", "The rest of the gap: what comes from the variant fitting the training data less or more."),
    (
        "present, absent, unknown",
        "Decisions about the gap and its shares. Present: clear of 0. Absent: below the tolerance, also "
        "where the variant is the better one. Unknown: neither is shown. Each is decided one-sided, at an "
        "error level that is shared out over the looks, so it may differ from what the two-sided interval "
        "beside it suggests.",
    ),
    (
        "coordinate, moved",
        "A number that describes the solution found, like sharpness or a margin. It moved where the interval "
        "of its difference leaves out 0, at a level shared over all that were read; that names no cause.",
    ),
    (
        "twin",
        "The scale-invariant companion of a coordinate: the same quantity in a form that does not change "
        "where weights are rescaled without changing what the network computes.",
    ),
    (
        "seed sd",
        "Spread between seeds: the root mean square of both arms\u2019 standard deviations.",
    ),
    (
        "look",
        "A point, fixed beforehand, at which the study may stop. The limits of the intervals pay for "
        "looking several times.",
    ),
    (
        "95 % interval",
        "The range of values compatible with the seeds seen. It comes from differences paired by seed. In a "
        "paper quote this one, with the number of seeds and looks; it holds for this test set.",
    ),
    (
        "population interval",
        "The same for new test examples of the same kind: wider, since the test set is a sample too. Quote "
        "it where the claim is about the task and not about this test set.",
    ),
    (
        "Welch\u2019s interval",
        "The gap with the arms taken as independent: how much the pairing by seed helps.",
    ),
    (
        "correlation of the arms",
        "How far a seed that is good for the baseline is good for the variant too: 1 always, 0 not at all. "
        "The higher, the more pairing helps.",
    ),
    (
        "exact sign-flip test",
        "How often chance alone, giving each seed\u2019s difference a sign by a coin, makes a mean as large "
        "as this one. It assumes that differences without a gap are symmetric about 0; it decides nothing.",
    ),
    (
        "one-sided error of each decision",
        "The chance that one look calls present what is not there, or absent what is as large as the "
        "tolerance; smaller than 5 % because all looks together must stay below that.",
    ),
)
