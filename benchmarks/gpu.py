"""Does the trainer keep its promises on the accelerator of this machine?

It takes whatever accelerator it finds (CUDA, ROCm, MPS), or the one that --device
names. Without one it says so, and does the same on the CPU. A folder of drawn pictures
is trained in peace, and once more in a process that is killed (SIGKILL) after an epoch
and goes on; then both are asked. Each row is one check, with the value that was
measured and the limit that it has to keep.

resumed weights        the largest difference of a weight between the training that was
                       killed and the one in peace, over the largest difference between
                       the trained weights and those before. On a CPU it is 0, byte for
                       byte. A GPU adds numbers in an order that is another one in each
                       run.
resumed answers        the largest difference of a probability
resumed labels         the share of other pictures that both give the same label
device of the answers  a probability, computed on the CPU and on the device from one
                       file: the largest difference
device of the labels   the share of pictures with the same label
evaluate               the difference of the accuracies by other pictures, on the CPU
                       and on the device
float16                a training in float16 ends with finite weights
caller                 random numbers of the device, autocast and precision are
                       afterwards what they were
checkpoint             optimizer state lies on the device after a checkpoint was read
train, predict         how many times as fast as the CPU of the same machine: seconds a
                       step, and pictures in a second (no limit)
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TUTORIAL_DATA"] = "sample"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import pandas as pd
import torch
from _rows import command_line, processor, write
from photos import draw

from tutorial_lib.config import load_config
from tutorial_lib.core.bodies import make_body
from tutorial_lib.core.budget import steps_in_minutes
from tutorial_lib.core.engine import amp_dtype, choose_device
from tutorial_lib.core.optimizers import (
    make_optimizer,
    pack_optimizer,
    unpack_optimizer,
)
from tutorial_lib.data import image_files
from tutorial_lib.modules import read_weights
from tutorial_lib.report import read_run
from tutorial_lib.trainer import evaluate, load_model, network_for, take_stock, train

FIELDS = "check value limit kept device precision torch".split()
KEYS = [
    "train.strategy=everything",
    "train.minutes=null",
    "train.epochs=3",
    "train.keep=last",
    "train.lr=1e-3",
    "output.report=false",
    "output.checkpoint_minutes=0",
]
PROGRAM = """
import sys
from tutorial_lib.config import load_config
from tutorial_lib.trainer import train

def say(text):
    print(text, flush=True)

if __name__ == "__main__":
    folder, device, *keys = sys.argv[1:]
    train(folder, load_config(None, keys), resume=True, device=device, say=say)
"""


def trained(folder, device, keys):
    config = load_config(None, keys)
    return train(folder, config, device=device, say=lambda text: None)


def killed_and_resumed(folder, device, keys):
    "A run that is killed after its first epoch, and goes on in another process."
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM, folder, str(device), *keys]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout:
            if text.startswith("epoch 1"):
                process.kill()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    said = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "resumed at step" in said, said


def weights(run):
    state, _ = read_weights(run / "model.safetensors")
    return {k: v.float() for k, v in state.items() if v.is_floating_point()}


def largest(a, b):
    "The largest difference between two bodies."
    names = [k for k in a if k in b and k.startswith("body.")]
    return max((a[k] - b[k]).abs().max().item() for k in names)


def probabilities(model, files):
    return model.predict(files, len(model.classes), bar=False).table().set_index("file")


def compare(a, b, classes):
    "The largest difference of a probability, and the share of equal labels."

    def in_order(row):
        labels, confidences = (
            row.filter(regex="^label"),
            row.filter(regex="^confidence"),
        )
        found = dict(zip(labels, confidences))
        return [found[name] for name in classes]

    def numbers(table):
        return np.array([in_order(row) for _, row in table.iterrows()])

    apart = abs(numbers(a) - numbers(b)).max()
    return float(apart), float((a.label == b.label).mean())


def pictures_a_second(model, images):
    model.probabilities(images[:64])
    start = time.perf_counter()
    model.probabilities(images)
    return len(images) / (time.perf_counter() - start)


def seconds_a_step(stock, device, keys):
    config = load_config(None, [*keys, "train.minutes=5"])
    body = make_body("densenet_tiny")
    body.model.to(device)
    amp = amp_dtype(body.device, config.train.precision)
    net = network_for(body, len(stock.classes), "everything", 0, amp=amp)
    return steps_in_minutes(net, stock, body, config).seconds_a_step


def state_of(device):
    "What a training could leave changed on a device."
    if device.type == "cuda":
        random_state = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        random_state = torch.mps.get_rng_state()
    else:
        random_state = torch.get_rng_state()
    ones = torch.ones(2, 2, device=device)
    is_autocast = torch.is_autocast_enabled(device.type)
    return random_state.tolist(), is_autocast, (ones @ ones).dtype


def checkpoint_device(train, device):
    "Where the state of an optimizer lies after it was read back."

    def optimizer():
        p = torch.nn.Parameter(torch.ones(3, device=device))
        return p, make_optimizer([dict(params=[p], lr=0.1)], train)

    p, opt = optimizer()
    p.grad = torch.ones(3, device=device)
    opt.step()
    tensors, groups = pack_optimizer(opt)
    q, other = optimizer()
    unpack_optimizer(other, {k: v.cpu() for k, v in tensors.items()}, groups)
    q.grad = torch.ones(3, device=device)
    other.step()
    # The count of the steps stays where PyTorch wants it: on the CPU.
    return {v.device.type for v in other.state[q].values() if v.shape == q.shape}


# ---- checks: name, value, limit, is it kept?


def at_most(name, value, limit):
    return name, value, limit, value <= limit


def at_least(name, value, limit):
    return name, value, limit, value >= limit


def has_to_be_true(name, value):
    return name, value, True, value


def of_resumption(peace, killed, files, device):
    "The run that was killed, and the one that was not."
    a, b = weights(peace), weights(killed)
    new = make_body("densenet_tiny").model.state_dict()
    start = {f"body.{k}": v.float() for k, v in new.items()}
    limit = 0 if device.type == "cpu" else 0.05
    yield at_most("resumed weights", largest(a, b) / largest(a, start), limit)
    models = load_model(peace, device), load_model(killed, device)
    answers = [probabilities(model, files) for model in models]
    apart, same = compare(*answers, models[0].classes)
    yield at_most("resumed answers", apart, limit)
    yield at_least("resumed labels", same, 0.95)


def of_device(here, there, files):
    "One model on the device, and on the CPU."
    answers = [probabilities(model, files) for model in (here, there)]
    apart, same = compare(*answers, here.classes)
    yield at_most("device of the answers", apart, 0.03)
    yield at_least("device of the labels", same, 0.95)
    plain = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (0, 90, 255)])
    x, y = (model.body.features(plain, bf16=False) for model in (here, there))
    apart = float((x - y).abs().max() / y.abs().max())
    yield at_most("device of the features, float32", apart, 0.005)


def accuracy(run, folder, device, i):
    result = read_run(evaluate(run, folder, f"judged_{device.type}_{i}", device))
    return float((result.pred == result.y).mean())


def of_speed(here, there, folder, device, keys):
    "How many times as fast as the CPU."
    cpu = torch.device("cpu")
    stock = take_stock(folder)
    steps = [seconds_a_step(stock, d, keys) for d in (device, cpu)]
    yield "train", steps[1] / steps[0], "", True
    n = 256 if device.type == "cpu" else 2048
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)
    speed = [pictures_a_second(model, images) for model in (here, there)]
    yield "predict", speed[0] / speed[1], "", True


def checks(device, n, keys):
    "Yield each check."
    cpu = torch.device("cpu")
    folder = draw(Path("my_photos").absolute(), n)
    others = draw(Path("other/photos").absolute(), n // 2)
    files = image_files(others)

    before = state_of(device)
    peace = trained(folder, device, [*keys, "output.runs=peace"])
    yield has_to_be_true("caller", state_of(device) == before)

    killed_and_resumed(folder, device, [*keys, "output.runs=killed"])
    yield from of_resumption(peace, Path("killed/my_photos"), files, device)

    here, there = load_model(peace, device), load_model(peace, cpu)
    yield from of_device(here, there, files)
    accuracies = [accuracy(peace, others, d, i) for i, d in enumerate((device, cpu))]
    yield at_most("evaluate", abs(accuracies[0] - accuracies[1]), 0.05)

    in_half = ["train.precision=float16", "train.epochs=1", "output.runs=half"]
    half = trained(folder, device, [*keys, *in_half])
    finite = all(v.isfinite().all() for v in weights(half).values())
    yield has_to_be_true("float16", finite)
    where = checkpoint_device(load_config().train, device)
    yield "checkpoint", " ".join(where), device.type, where == {device.type}
    yield from of_speed(here, there, folder, device, keys)


def arguments():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--device",
        help="such as cpu, cuda, cuda:1, mps (default: what this machine has)",
    )
    parser.add_argument("--n", type=int, default=240, help="pictures (default 240)")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="further settings of the trainings",
    )
    return parser.parse_args()


def main():
    args = arguments()
    device, out = choose_device(args.device), args.out.absolute()
    if device.type == "cpu" and not args.device:
        print("no accelerator was found: the same checks run on the CPU")
    precision = str(amp_dtype(device, "auto") or torch.float32)
    rows, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as tmp:
        origin = Path.cwd()
        os.chdir(tmp)
        try:
            for check, value, limit, kept in checks(device, args.n, [*KEYS, *args.set]):
                rows.append(
                    dict(
                        check=check,
                        value=f"{value:.3g}" if isinstance(value, float) else value,
                        limit=limit,
                        kept="yes" if kept else "no",
                        device=processor(device),
                        precision=precision.removeprefix("torch."),
                        torch=torch.__version__,
                    )
                )
                write(out, FIELDS, rows)
        finally:
            os.chdir(origin)
    table = pd.DataFrame(rows)[["check", "value", "limit", "kept"]]
    print(table.to_string(index=False))
    print(f"{processor(device)}, {time.perf_counter() - start:.0f} s")
    sys.exit(any(row["kept"] == "no" for row in rows))


if __name__ == "__main__":
    main()
