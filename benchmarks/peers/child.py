"""One training by one library, in a process and an environment of its own.

    python -P benchmarks/peers/child.py REQUEST.json

Run by the library's interpreter, so that it needs numpy and scipy and imports nothing of this project.
It loads the library's adapter (a file of `benchmarks/peers/libraries/`) by its path, gives it a `Task`,
and keeps the clock: what is between `Task.start` and `Task.after_pass` is training, and the scoring of
users is not. Every line on stdout tells a pass, or asks for an answer on stdin, as JSON.

U users, N items (both counted from 0), B users of a block, K length of a list.
"""

import importlib.util
import itertools
import json
import os
import resource
import sys
import time
from contextlib import redirect_stdout, suppress
from importlib.metadata import distributions
from pathlib import Path

import numpy as np
import scipy.sparse as sp

USERS_AT_ONCE = 256


class Stop(Exception):
    """Ends a training that has had enough passes."""


class Task:
    """What a library trains on, and whom it tells about its passes.

    Attributes
    ----------
    n_users, n_items
    users, items : int64, (R,)
        The training interactions, grouped by user and in time order.
    places : int64, (R,)
        The place of each in its user's history, from 0: a time without ties.
    settings : dict
        Hyper-parameters of the adapter's model.
    passes : int
        The most passes.
    seed : int
    threads : int
    folder : Path
        Where a library may leave files.
    context : dict
        What our own adapter needs beyond this.
    """

    def __init__(self, request, channel):
        data = np.load(request["data"])
        self._data = data
        self._channel = channel
        self.n_users, self.n_items = int(data["n_users"]), int(data["n_items"])
        self.users, self.items, self.places = self.history("valid")
        self.settings = request["settings"]
        self.passes = request["passes"]
        self.seed = request["seed"]
        self.threads = request["threads"]
        self.folder = Path(request["folder"])
        self.context = request["context"]
        self.facts = {}
        self._known = {}
        self._spent = np.zeros(2)
        self._begin = None
        self._done = 0

    def history(self, phase):
        """Users, items and places of what is known before the targets of "valid" or "test"."""
        parts = ["train"] if phase == "valid" else ["train", "valid"]
        found = [
            np.concatenate([self._data[f"{part}_{what}"] for part in parts])
            for what in ("users", "items", "places")
        ]
        order = np.lexsort((found[2], found[0]))
        return tuple(each[order] for each in found)

    def rows(self, phase="valid", dtype=np.float32):
        """The same as a matrix of ones, csr, (U, N)."""
        users, items, _ = self.history(phase)
        shape = (self.n_users, self.n_items)
        rows = sp.csr_matrix((np.ones(len(users), dtype=dtype), (users, items)), shape=shape)
        rows.data[:] = 1
        return rows

    def lists(self, phase, longest):
        """The last items of every user before the targets, a list of arrays."""
        users, items, _ = self.history(phase)
        ends = np.searchsorted(users, np.arange(self.n_users + 1))
        return [items[max(begin, end - longest) : end] for begin, end in itertools.pairwise(ends)]

    def padded(self, phase, users_B, longest, *, left):
        """The last items of some users before the targets, (B, longest), filled with N on one side."""
        if (phase, longest) not in self._known:
            self._known[phase, longest] = self.lists(phase, longest)
        known = self._known[phase, longest]
        items_BL = np.full((len(users_B), longest), self.n_items)
        for row, user in enumerate(users_B):
            history = known[user]
            begin = longest - len(history) if left else 0
            items_BL[row, begin : begin + len(history)] = history
        return items_BL

    def lightning(self, callback, score):
        """What a Trainer of Lightning is made with, so that it tells of its epochs and nothing else.

        Parameters
        ----------
        callback : type
            Lightning's Callback, from the package that the library uses.
        score : callable
            As `after_pass` takes it.
        """
        task = self

        class Passes(callback):
            def __deepcopy__(self, memo):
                return self

            def on_train_start(self, trainer, module):
                task.start()

            def on_train_epoch_end(self, trainer, module):
                task.after_pass(score)
                module.train()

        return {
            "max_epochs": self.passes,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "callbacks": [Passes()],
        }

    def scores_of(self, lists_BK):
        """Scores that rank as these lists of items do, (B, N): what is on no list scores least.

        A list ends at its first item below 0.
        """
        lists_BK = np.asarray(lists_BK)
        scores_BN = np.full((len(lists_BK), self.n_items), -np.inf, dtype=np.float32)
        rows, places = np.nonzero(lists_BK >= 0)
        scores_BN[rows, lists_BK[rows, places]] = -places
        return scores_BN

    def start(self):
        """From here on the library trains; what came before it is counted apart."""
        self.facts["megabytes_before"] = _peak()
        self._begin = _now()

    def after_pass(self, score):
        """A pass is done; it is scored where it is to be, with the clock stopped.

        Parameters
        ----------
        score : callable
            Takes "valid" or "test" and users (B,), and gives their scores, (B, N).

        Raises
        ------
        Stop
            When it was the last pass that was wanted.
        """
        self._spent += _now() - self._begin
        self._done += 1
        wall, cpu = self._spent.tolist()
        answer = self._ask(
            {"pass": self._done, "wall": wall, "cpu": cpu, "peak": _peak(), "facts": self.facts}
        )
        while "score" in answer:
            begin = _now()
            self._write(answer["score"], Path(answer["to"]), score)
            answer = self._ask({"scored": answer["score"], "cpu": (_now() - begin).tolist()[1]})
        if answer["stop"]:
            raise Stop
        self._begin = _now()

    def _ask(self, content):
        print(json.dumps(content), file=self._channel, flush=True)
        return json.loads(sys.stdin.readline())

    def _write(self, phase, path, score):
        """Scores of the phase's users, float32, row by row; nothing of it stays in memory."""
        users_U = self._data[f"{phase}_scored"]
        with path.open("wb") as file:
            for begin in range(0, len(users_U), USERS_AT_ONCE):
                users_B = users_U[begin : begin + USERS_AT_ONCE]
                scores_BN = np.asarray(score(phase, users_B), dtype=np.float32)
                assert scores_BN.shape == (len(users_B), self.n_items), scores_BN.shape
                file.write(np.ascontiguousarray(scores_BN).tobytes())


def _now():
    """Wall and CPU seconds, those of ended children too."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array(
        [time.perf_counter(), time.process_time() + ended.ru_utime + ended.ru_stime],
    )


def _peak():
    """The most megabytes that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _adapter(path):
    spec = importlib.util.spec_from_file_location("adapter", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["adapter"] = module
    spec.loader.exec_module(module)
    return module


def main():
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv = sys.argv[:1]  # some libraries read the command line
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever prints to it in C
    with redirect_stdout(sys.stderr):
        begin = _now()
        adapter = _adapter(request["adapter"])
        imported = _now() - begin
        task = Task(request, channel)
        os.chdir(task.folder)
        packages = {each.metadata["Name"].lower(): each.version for each in distributions()}
        task.facts["import_cpu_seconds"] = imported.tolist()[1]
        task.facts["packages"] = {
            name: packages[name] for name in adapter.PACKAGES if name in packages
        }
        with suppress(Stop):
            adapter.MODELS[request["model"]](task)
        print(json.dumps({"done": True}), file=channel, flush=True)
    os._exit(0)  # threads of a library may outlive its training


if __name__ == "__main__":
    main()
