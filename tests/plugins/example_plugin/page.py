"""A section of the report."""

from markupsafe import Markup

from paddock import report_section


@report_section("seeds-listed", title="Seeds at a glance")
def seeds_listed(summary):  # type: ignore[no-untyped-def]
    """The number of models, in one sentence."""
    return Markup("<p>The example plug-in was here.</p>")
