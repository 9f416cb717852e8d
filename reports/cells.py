"""How a number is shown, the same in every format."""

from collections.abc import Mapping

from experiments.config.metric_names import long_title
from experiments.runs.configuration import DECIMALS
from reports.costs import UNEQUAL, Budget, amounts, timed
from reports.significance import NONE, SIGNIFICANT, Comparison
from reports.summarise import Row, Summary, Value

DASH = "–"
_MAGNITUDE = 0.1
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def number(value: Value | None) -> str:
    """Mean ± standard deviation, 0.1071 ± 0.0075."""
    return f"{mean(value)} {deviation(value)}".strip()


def of_row(row: Row, metric: str) -> str:
    """A row's number; "n/a" where its model cannot score what the protocol asks for."""
    value = row.values.get(metric)
    return "n/a" if value is None and row.configuration.not_applicable else number(value)


def mean(value: Value | None) -> str:
    """The mean alone; a dash where there is none."""
    return DASH if value is None else f"{value.mean:.{DECIMALS}f}"


def deviation(value: Value | None) -> str:
    """The standard deviation alone, ± 0.0075; nothing of a single seed."""
    return "" if value is None or value.std is None else f"± {value.std:.{DECIMALS}f}"


def gain(value: Value | None) -> str:
    """The relative gain over the best baseline, +12.3 %."""
    return DASH if value is None or value.gain is None else f"{100 * value.gain:+.1f} %"


def symbol(value: Value | None) -> str:
    """▲ or ▼ for a significant difference, hollow where only these runs differ."""
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
    if made.verdict == SIGNIFICANT:
        return f"significantly {side} than {made.against}"
    return f"{side} than {made.against} on these users as trained; other seeds may turn it"


def probability(value: float | None) -> str:
    """A p-value to four decimals."""
    if value is None:
        return DASH
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def interval(made: Comparison) -> str:
    """The bootstrap interval of a difference."""
    return f"[{made.low:+.{DECIMALS}f}, {made.high:+.{DECIMALS}f}]"


def count(value: float | None) -> str:
    """A whole number with commas."""
    return DASH if value is None else f"{value:,.0f}"


def measured(value: float | None) -> str:
    """Three figures: 119.8 s is 120, 0.0213 stays."""
    if value is None:
        return DASH
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def label(row: Row) -> str:
    """The row's label, with a sign where its language model is a tiny one, and its footnotes' numbers."""
    numbers = ["".join(_RAISED[int(digit)] for digit in str(each)) for each in row.footnotes]
    signs = ["†"] if row.mechanics_only else []
    return " ".join([row.label, *signs, *numbers])


def trials(row: Row) -> str:
    """How many trials tuned the row."""
    return str(row.budget.trials) if row.budget.trials else "not tuned"


def notes(summary: Summary) -> list[str]:
    """What the signs of the tables mean."""
    options = summary.options
    level, inside = f"{options.alpha:g}", f"{100 * (1 - options.alpha):g} %"
    lines = [
        "Means over seeds of the test part ± sample standard deviation over seeds. The best value of "
        "a column is bold, the second underlined.",
        "Gain: relative to the best of the other models; of the best one, relative to the best other "
        "that learns of the users and is not built on it."
        if not options.baselines
        else f"Gain: relative to the best of {', '.join(options.baselines)}.",
        "△ better, ▽ worse than that model: these trained models differ on these users; trained with other "
        "seeds they may not, so that models that are equally good often get this sign. Wilcoxon's "
        f"signed-rank test over users (a user's value is the mean over seeds) is below {level}, and the "
        f"{inside} paired bootstrap interval of the difference excludes 0.",
        "▲ significantly better, ▼ significantly worse than that model: a t-test over users and seeds "
        f"together is below {level} too. A single seed never gets this sign. Both tests are corrected by "
        "Holm's method for all pairs of models and all metrics of the report: where all models are "
        f"equally good, at most {100 * options.alpha:g} % of the reports show ▲ or ▼ anywhere.",
    ]
    if options.configurations == "best":
        lines.append(
            f"Of each model, the configuration with the best valid {long_title(summary.selecting)}."
        )
    if any(row.mechanics_only for row in summary.rows):
        lines.append(
            "† On a tiny language model with random or toy weights: it shows that everything works, "
            "not what the method achieves."
        )
    lines += [
        f"{''.join(_RAISED[int(digit)] for digit in str(number))} {note}."
        for number, note in enumerate(summary.footnotes, start=1)
    ]
    lines.append(budgets(summary))
    return lines


def budgets(summary: Summary) -> str:
    """What tuned the rows, and which of them had less of it: in trials, and in seconds and epochs."""
    had = {label(row): row.budget for row in summary.rows if row.budget.tunable}
    if not any(budget.trials for budget in had.values()):
        return "No row was tuned: all run with the values of their YAML files."
    return " ".join(filter(None, [_in_trials(had), _in_seconds(had), _in_epochs(had)]))


def _in_trials(had: Mapping[str, Budget]) -> str:
    most = max(budget.trials for budget in had.values())
    less = [
        f"{name} {budget.trials or 'no'} trial{'s' if budget.trials != 1 else ''}"
        for name, budget in had.items()
        if budget.trials < most
    ]
    if not less:
        return f"Tuning budgets are equal: {most} trials each."
    return (
        f"Tuning budgets are unequal: the largest is {most} trials, and {', '.join(less)}. "
        "Rows with fewer trials may only be tuned worse."
    )


def _in_seconds(had: Mapping[str, Budget]) -> str:
    """Seconds count where they limited a study; else only where they are of another magnitude."""
    seconds = amounts(had, "seconds")
    if timed(had):
        unequal = _far_below(seconds, "s", UNEQUAL)
        studies = "the" if all(had[name].timed for name in seconds) else "some of the"
        least, most = min(seconds.values()), max(seconds.values())
        told = f"unequal: {unequal}" if unequal else f"alike: {least:,.0f} to {most:,.0f} s each"
        return f"Seconds limited {studies} studies, and in seconds of trials budgets are {told}."
    unequal = _far_below(seconds, "s", _MAGNITUDE)
    return f"In seconds of trials: {unequal}." if unequal else ""


def _in_epochs(had: Mapping[str, Budget]) -> str:
    unequal = _far_below(amounts(had, "epochs"), "epochs", _MAGNITUDE)
    return f"In epochs of all trials together: {unequal}." if unequal else ""


def _far_below(amounts: Mapping[str, float], unit: str, share: float) -> str:
    """Who had most, and who less than a share of that; "" where nobody had."""
    top = max(amounts, key=lambda name: amounts[name], default="")
    less = [
        f"{name} {amount:,.0f} {unit}"
        for name, amount in amounts.items()
        if amount <= share * amounts[top]
    ]
    return f"{top} had {amounts[top]:,.0f} {unit}, and {', '.join(less)}" if less else ""
