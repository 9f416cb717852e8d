"""A callback that keeps what it was told in the run folder."""

import json

from paddock import Callback


class Recorder(Callback):
    """Writes the names of its calls to events.json."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def on_start(self, run) -> None:  # type: ignore[no-untyped-def]
        """Note the run folder."""
        self.folder = run.folder
        self.events.append("start")

    def on_stage(self, stage, epochs) -> None:  # type: ignore[no-untyped-def]
        """Note the stage."""
        self.events.append(f"stage {stage}")

    def on_validate(self, stage, epoch, metrics) -> None:  # type: ignore[no-untyped-def]
        """Note the epoch."""
        self.events.append(f"validate {epoch}")

    def on_epoch(self, record) -> None:  # type: ignore[no-untyped-def]
        """Note the epoch."""
        self.events.append(f"epoch {record['epoch']}")

    def on_end(self, result, error) -> None:  # type: ignore[no-untyped-def]
        """Write all of it."""
        self.events.append("end" if error is None else type(error).__name__)
        if hasattr(self, "folder"):
            (self.folder / "events.json").write_text(json.dumps(self.events))
