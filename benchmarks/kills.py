"""Killed at any moment, does a training end with the same weights as one left alone?

A folder of drawn pictures is trained with six configurations: first in peace, and then
in runs that are killed (SIGKILL), go on with `resume`, and are killed again, until they
are complete. Linux and macOS only.

child   A process that has imported everything forks a child for each attempt. The child
        reports its moments - each step, each file before and after it is written to the
        disk and takes its name, each stage - and waits for leave to go on. At a moment
        that is drawn from a seed it is killed: there, or after a few milliseconds more.
        `stage` says what it was doing.
whole   A process of its own for each attempt, killed by turns within its first one and
        a half seconds, when Python starts and imports, and after a number of lines of
        its progress. `stage` says whether there was a run on the disk yet.

`identical` says yes where the run that was killed `kills` times in this stage has, when
it is complete, the same bytes in each safetensors file, the same predictions, the same
history but for its seconds, the same files and no temporary one, and results and a
report that can be read. One thread computes: with more of them, the promise is the same
for the same number.
"""

import hashlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from itertools import count
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TUTORIAL_DATA"] = "sample"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pandas as pd
import torch
from _rows import command_line, processor, read, write
from photos import draw
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tutorial_lib import report as reports
from tutorial_lib import trainer
from tutorial_lib.config import load_config
from tutorial_lib.core import bodies, jobs, tuning
from tutorial_lib.core.batches import augmentation
from tutorial_lib.core.training import Training
from tutorial_lib.report import read_run

FIELDS = "round configuration process stage kills identical torch device".split()
CONFIGURATIONS = {
    "probe": ["train.strategy=probe"],
    "head": ["train.strategy=head", "output.checkpoint_minutes=0"],
    "last parts": ["train.strategy=last parts", "train.balance=sampler"],
    "everything": [
        "train.strategy=everything",
        "train.balance=weights",
        "data.test=0.2",
        "output.checkpoint_minutes=0",
    ],
    "everything, sgd": [
        "recipe=full",
        "train.epochs=2",
        "train.lr_every=1",
        "train.validate_every=3",
    ],
    "the best weights": [
        "train.strategy=everything",
        "train.probe=false",
        "train.keep=best",
        "train.validate_every=1",
        "output.checkpoint_minutes=0",
    ],
}
COMMON = [
    "train.minutes=null",
    "train.epochs=2",
    "train.batch_size=8",
    "train.keep=last",
    "train.lr=1e-3",
]
# A function that is called in a stage, and what the stage is called.
STAGES = {
    (trainer, "take_stock"): "reading",
    (trainer, "new_run"): "new run",
    (bodies, "make_body"): "body",
    (jobs.Job, "features"): "features",
    (trainer, "fit_probe"): "probe",
    (trainer, "save_head"): "weights",
    (trainer, "write_run"): "predictions",
    (reports, "report"): "report",
    (tuning, "fine_tune"): "training",
    (Training, "save"): "checkpoint",
    (trainer, "tidy"): "tidying",
}


def keys(name, runs):
    return [*COMMON, *CONFIGURATIONS[name], f"output.runs={runs}"]


def found(run):
    """What a complete run holds, apart from what the clock says.

    Raises what `read_run` raises.
    """
    read_run(run)
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>"), "the report is cut"
    history = ""
    if (run / "history.csv").exists():
        history = pd.read_csv(run / "history.csv").drop(columns="seconds").to_csv()
    results = sorted([*run.glob("*.safetensors"), run / "predictions.csv"])
    hashes = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in results}
    files = [p for p in run.parent.rglob("*") if not p.name.endswith(".lock")]
    names = sorted(p.relative_to(run.parent).as_posix() for p in files)
    return hashes, history, names


def fail(log):
    sys.exit(
        "a training failed, and it was not because it was killed:\n" + log.read_text()
    )


# ---- a child that says where it is


def live(folder, config, out, leave):
    "One attempt to train. Tells its moments to `out`, waits for bytes from `leave`."
    stages, of_report = ["start"], count()

    def moment():
        if stages[-1] == "report" and next(of_report) % 4:
            return  # it writes many small files
        os.write(out, f"{stages[-1]}\n".encode())
        os.read(leave, 1)

    def around(f, stage=None):
        def wrapped(*args, **kwargs):
            if stage:
                stages.append(stage)
            moment()
            try:
                return f(*args, **kwargs)
            finally:
                moment()
                if stage:
                    stages.pop()

        return wrapped

    for name in "fsync", "replace", "rename":
        setattr(os, name, around(getattr(os, name)))
    for (place, name), stage in STAGES.items():
        setattr(place, name, around(getattr(place, name), stage))

    def before_step(opt, args, kwargs):
        moment()

    register_optimizer_step_pre_hook(before_step)
    moment()

    def tell(_):
        moment()

    trainer.train(folder, config, resume=True, say=tell, on_step=tell)


def attempt(folder, config, at=None, more=0, log=None):
    """Fork a child that trains, and kill it `more` seconds after its moment `at`.

    Returns the stage in which it died, or None; and how many moments there were.
    """
    (reader, out), (leave, giver) = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with log.open("w") as f:
                for fd in 1, 2:
                    os.dup2(f.fileno(), fd)
            live(folder, config, out, leave)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    for fd in out, leave:
        os.close(fd)
    n, stage = 0, None
    with os.fdopen(reader) as moments:
        for line in moments:
            n, stage = n + 1, line.strip()
            if n == at and not more:
                break
            os.write(giver, b"x")
            if n == at:
                select.select([], [], [], more)
                break
        else:
            at = None  # it came to its end
    if at:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(giver)
    if status > 0:
        fail(log)
    return (stage if status == -signal.SIGKILL else None), n


def kill_children(folder, name, runs, draws, moments, log, most=9):
    "One run, killed until it is complete. Returns how often it died in which stage."
    died, config = Counter(), load_config(None, keys(name, runs))
    while True:
        at = None
        if sum(died.values()) < most:
            at = draws.randrange(1, max(moments // 2, 9))
        more = draws.choice([0, 0, draws.expovariate(200)])
        stage, _ = attempt(folder, config, at, more, log)
        if stage is None:
            return died
        died[stage] += 1


# ---- a process of its own

WHOLE = """
import sys
from tutorial_lib.config import load_config
from tutorial_lib.trainer import train
train(sys.argv[1], load_config(None, sys.argv[2:]), resume=True)
"""


def kill_processes(folder, name, runs, draws, log, most):
    "The same with whole processes; after `most` kills the run is left alone."
    program = [sys.executable, "-u", "-W", "ignore", "-c", WHOLE]
    arguments = [folder, *keys(name, runs)]
    died = Counter()
    while True:
        n = sum(died.values())
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*program, *arguments], stdout=subprocess.PIPE, stderr=errors
            )
        with process:
            if n < most:
                wait_to_kill(process, n, draws)
                process.kill()
            process.communicate()
        if process.returncode == -signal.SIGKILL:
            begun = any(runs.glob("my_photos*"))
            died["a run was begun" if begun else "no run yet"] += 1
        elif process.returncode:
            fail(log)
        else:
            return died


def wait_to_kill(process, n, draws):
    "By turns a part of the first one and a half seconds, and some lines and a little."
    if n % 2 == 0:
        select.select([], [], [], draws.uniform(0, 1.5))
    elif all(process.stdout.readline() for _ in range(draws.randrange(1, 7))):
        select.select([], [], [], draws.expovariate(50))


# ---- all of them


def arguments():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="runs of each configuration that are killed until complete (default 5)",
    )
    parser.add_argument(
        "--whole",
        type=int,
        default=4,
        help="kills of whole processes in a round; 0: none (default 4)",
    )
    parser.add_argument(
        "--configurations",
        nargs="+",
        choices=list(CONFIGURATIONS),
        default=list(CONFIGURATIONS),
        help="which ones (default: all)",
    )
    return parser.parse_args()


def plan(args):
    "All jobs: number of the round, name of the configuration, kind of process."
    names = args.configurations
    jobs = [(k, name, "child") for k in range(args.rounds) for name in names]
    if args.whole:
        some = names[1:4] or names
        jobs += [(k, some[k % len(some)], "whole") for k in range(args.rounds)]
    return jobs


def in_peace(folder, name, runs, log):
    "What a run holds that nobody kills, and how many moments it has."
    _, moments = attempt(folder, load_config(None, keys(name, runs)), log=log)
    return found(runs / "my_photos"), moments


def is_identical(run, whole, name):
    try:
        return found(run) == whole
    except (OSError, ValueError, AssertionError) as e:
        print(f"{name}: {e}")
        return False


def main():
    args = arguments()
    # Before the first fork: a child has none of these threads, and imports nothing.
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    augmentation("full", 32)

    rows, device = read(args.out), processor(torch.device("cpu"))
    done = {(int(r["round"]), r["configuration"], r["process"]) for r in rows}
    todo = [job for job in plan(args) if job not in done]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return
    bad = False
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        folder, log, peace = draw(tmp / "my_photos", 42), tmp / "log", {}
        for k, name, process in todo:
            if name not in peace:
                peace[name] = in_peace(folder, name, tmp / f"peace {name}", log)
            whole, moments = peace[name]
            runs, draws = tmp / "runs", random.Random(f"{k} {name} {process}")
            if process == "child":
                died = kill_children(folder, name, runs, draws, moments, log)
            else:
                died = kill_processes(folder, name, runs, draws, log, args.whole)
            same = is_identical(runs / "my_photos", whole, name)
            bad |= not same
            for stage, n in sorted((died or {"never": 0}).items()):
                rows.append(
                    {
                        "round": k,
                        "configuration": name,
                        "process": process,
                        "stage": stage,
                        "kills": n,
                        "identical": "yes" if same else "no",
                        "torch": torch.__version__,
                        "device": device,
                    }
                )
            write(args.out, FIELDS, rows)
            verdict = "identical" if same else "NOT THE SAME"
            kills = f"{sum(died.values())} kills, {verdict} ({dict(died)})"
            print(f"round {k}, {name}, {process}: {kills}", flush=True)
            shutil.rmtree(runs)
    sys.exit(bad)


if __name__ == "__main__":
    main()
