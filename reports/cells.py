"""How a number is told, the same in every format."""

from reports.metrics import long
from reports.significance import NONE, SIGNIFICANT, Comparison
from reports.summarise import DECIMALS, Row, Summary, Value

DASH = "–"


def number(value: Value | None) -> str:
    """Mean ± standard deviation, 0.1071 ± 0.0075."""
    return f"{mean(value)} {deviation(value)}".strip()


def mean(value: Value | None) -> str:
    return DASH if value is None else f"{value.mean:.{DECIMALS}f}"


def deviation(value: Value | None) -> str:
    return "" if value is None or value.std is None else f"± {value.std:.{DECIMALS}f}"


def gain(value: Value | None) -> str:
    """The relative gain over the best baseline, +12.3 %."""
    return DASH if value is None or value.gain is None else f"{100 * value.gain:+.1f} %"


def symbol(value: Value | None) -> str:
    """▲ or ▼ for a significant difference, hollow where only the users tell the two apart."""
    made = value.comparison if value else None
    if made is None or made.verdict == NONE:
        return ""
    solid, hollow = ("▲", "△") if made.difference > 0 else ("▼", "▽")
    return solid if made.verdict == SIGNIFICANT else hollow


def spoken(value: Value | None) -> str:
    """The symbol in words."""
    made = value.comparison if value else None
    if made is None or made.verdict == NONE:
        return ""
    side = "better" if made.difference > 0 else "worse"
    what = "significantly" if made.verdict == SIGNIFICANT else "over users, not over seeds,"
    return f"{what} {side} than {made.against}"


def probability(value: float | None) -> str:
    if value is None:
        return DASH
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def interval(made: Comparison) -> str:
    return f"[{made.low:+.{DECIMALS}f}, {made.high:+.{DECIMALS}f}]"


def count(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def measured(value: float | None) -> str:
    """Three figures: 119.8 s is 120, 0.0213 stays."""
    if value is None:
        return DASH
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def label(row: Row) -> str:
    return f"{row.label} †" if row.mechanics_only else row.label


def trials(row: Row) -> str:
    return str(row.budget.trials) if row.budget.trials else "not tuned"


def headline(summary: Summary) -> str:
    """Who wins, by how much, and whether that is significant, in one sentence a ranking."""
    told = []
    for ranking, metric in summary.leads.items():
        first, *others = summary.ranked(ranking)
        value = first.values.get(metric)
        if value is None:
            continue
        sentence = f"{label(first)} has the best {long(metric)}: {number(value)}"
        made = value.comparison
        if others and made is not None and value.gain is not None:
            verdict = {SIGNIFICANT: "significant", NONE: "not significant"}.get(
                made.verdict, "significant over users, but not shown to hold over seeds"
            )
            sentence += f", {gain(value)} against {made.against} ({verdict})"
        told.append(sentence + ".")
    return " ".join(told)


def notes(summary: Summary) -> list[str]:
    """What the signs of the tables mean."""
    options = summary.options
    level, inside = f"{options.alpha:g}", f"{100 * (1 - options.alpha):g} %"
    told = [
        "Means over seeds of the test part ± sample standard deviation over seeds. The best value of "
        "a column is bold, the second underlined.",
        "Gain: relative to the best of the other models."
        if not options.baselines
        else f"Gain: relative to the best of {', '.join(options.baselines)}.",
        f"▲ significantly better, ▼ significantly worse than that model: Wilcoxon's signed-rank test "
        f"over users (a user's value is the mean over seeds) below {level}, corrected by Holm's "
        f"method for all pairs of models and all metrics; the {inside} paired bootstrap interval of "
        f"the difference excludes 0; and Welch's t-test over seeds below {level}, corrected by Holm's "
        "method for all metrics. △ ▽: the users tell the two apart, the seeds do not, or there is "
        "only one.",
    ]
    if options.configurations == "best":
        told.append(
            f"Of each model, the configuration with the best valid {long(summary.selecting)}."
        )
    if any(row.mechanics_only for row in summary.rows):
        told.append(
            "† On a tiny language model with random or toy weights: it shows that everything works, "
            "not what the method achieves."
        )
    if any("unequal budget" in flag for row in summary.rows for flag in row.flags):
        told.append("Budgets are unequal: rows with fewer trials may only be tuned worse.")
    return told
