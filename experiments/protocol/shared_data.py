"""What every model of an experiment shares: the data, the split, the frozen candidates."""

from dataclasses import dataclass, replace
from pathlib import Path

from experiments.config.schema import Config
from experiments.data.prepare import prepare
from experiments.data.prepared import Prepared
from experiments.protocol.candidates import Candidates, candidates
from experiments.protocol.split import Phase, Split, split_interactions


@dataclass(frozen=True, kw_only=True)
class SharedData:
    """What every model of an experiment shares.

    Attributes
    ----------
    data : Prepared
    split : Split
    candidates : dict
        Phase -> ranking -> its candidates, for the rankings with candidates.
    """

    data: Prepared
    split: Split
    candidates: dict[Phase, dict[str, Candidates]]

    @property
    def hashes(self) -> dict[str, str]:
        """Hashes of all of it; equal hashes mean comparable numbers."""
        return {
            "dataset": self.data.hash,
            "split": self.split.hash,
            **{
                f"candidates_{name}_{phase}": made.hash
                for phase, rankings in self.candidates.items()
                for name, made in rankings.items()
            },
        }


def shared_data(config: Config, *, elsewhere: Path | None = None) -> SharedData:
    """Prepare the data set, split it, and draw or read the frozen candidates.

    Parameters
    ----------
    config : Config
        Its data set, protocol and `data_dir`.
    elsewhere : Path, optional
        Where runs share what they train, instead of beside the data.

    Raises
    ------
    PaddockError
        Where the data cannot be prepared, split, or ranked among so many candidates.
    """
    data = prepare(config.dataset, data_dir=config.data_dir, progress=config.progress)
    data = replace(data, elsewhere=elsewhere)
    split = split_interactions(data.before_join, config.protocol)
    phases: tuple[Phase, ...] = ("valid", "test")
    drawn = {
        phase: {
            name: candidates(
                data,
                split,
                phase,
                size=ranking.candidates,
                seed=ranking.seed,
                folder=data.path / "candidates",
            )
            for name, ranking in config.protocol.rankings.items()
            if ranking.candidates is not None
        }
        for phase in phases
    }
    return SharedData(data=data, split=split, candidates=drawn)
