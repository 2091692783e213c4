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
from tutorial_lib.trainer import (
    evaluate,
    load_model,
    make_body,
    network_for,
    take_stock,
    train,
)

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

if __name__ == '__main__':
    config = load_config(None, sys.argv[3:])
    train(sys.argv[1], config, resume=True, device=sys.argv[2], say=say)
"""


def killed_and_resumed(folder, device, keys):
    "A run that is killed after its first epoch, and goes on in another process."
    line = [sys.executable, "-W", "ignore", "-c", PROGRAM, folder, str(device), *keys]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        for text in process.stdout:
            if text.startswith("epoch 1"):
                process.kill()
    assert process.returncode == -signal.SIGKILL, (
        "it came to its end before it was killed"
    )
    said = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "resumed at step" in said, said


def weights(file):
    return {
        k: v.float() for k, v in read_weights(file)[0].items() if v.is_floating_point()
    }


def largest(a, b):
    return max(
        (a[k] - b[k]).abs().max().item() for k in a if k in b and k.startswith("body.")
    )


def probabilities(model, files):
    return model.predict(files, len(model.classes), bar=False).set_index("file")


def compare(a, b, classes):
    "The largest difference of a probability, and the share of equal labels."

    def of(table):
        return np.array(
            [
                [
                    dict(
                        zip(row.filter(regex="^label"), row.filter(regex="^confidence"))
                    )[c]
                    for c in classes
                ]
                for _, row in table.iterrows()
            ]
        )

    return float(abs(of(a) - of(b)).max()), float((a.label == b.label).mean())


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
    draw = {
        "cuda": lambda: torch.cuda.get_rng_state(device),
        "mps": torch.mps.get_rng_state,
    }.get(device.type, torch.get_rng_state)
    return (
        draw().tolist(),
        torch.is_autocast_enabled(device.type),
        (torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)).dtype,
    )


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


def checks(device, n, keys):
    "Yield each check: name, value, limit, is it kept?"
    cpu = torch.device("cpu")
    exact = device.type == "cpu"
    folder = draw(Path("my_photos").absolute(), n)
    others = draw(Path("other/photos").absolute(), n // 2)
    files = image_files(others)

    before = state_of(device)
    peace = train(
        folder,
        load_config(None, [*keys, "output.runs=peace"]),
        device=device,
        say=lambda text: None,
    )
    after = state_of(device)
    yield "caller", after == before, True, after == before

    killed_and_resumed(folder, device, [*keys, "output.runs=killed"])
    killed = Path("killed/my_photos")
    a, b = (weights(run / "model.safetensors") for run in (peace, killed))
    start = {
        f"body.{k}": v.float()
        for k, v in make_body("densenet_tiny").model.state_dict().items()
    }
    apart = largest(a, b) / largest(a, start)
    limit = 0 if exact else 0.05
    yield "resumed weights", apart, limit, apart <= limit
    at = load_model(peace, device), load_model(killed, device)
    p, same = compare(*(probabilities(m, files) for m in at), at[0].classes)
    yield "resumed answers", p, 0 if exact else 0.05, p <= (0 if exact else 0.05)
    yield "resumed labels", same, 0.95, same >= 0.95

    here, there = at[0], load_model(peace, cpu)
    p, same = compare(
        probabilities(here, files), probabilities(there, files), here.classes
    )
    yield "device of the answers", p, 0.03, p <= 0.03
    yield "device of the labels", same, 0.95, same >= 0.95
    x = here.body.features(
        np.stack([np.full((32, 32, 3), v, np.uint8) for v in (0, 90, 255)]), bf16=False
    )
    y = there.body.features(
        np.stack([np.full((32, 32, 3), v, np.uint8) for v in (0, 90, 255)]), bf16=False
    )
    apart = float((x - y).abs().max() / y.abs().max())
    yield "device of the features, float32", apart, 0.005, apart <= 0.005
    accuracies = [
        float((r.pred == r.y).mean())
        for r in (
            read_run(evaluate(peace, others, f"judged_{d.type}_{i}", d))
            for i, d in enumerate((device, cpu))
        )
    ]
    apart = abs(accuracies[0] - accuracies[1])
    yield "evaluate", apart, 0.05, apart <= 0.05

    half = train(
        folder,
        load_config(
            None,
            [*keys, "train.precision=float16", "train.epochs=1", "output.runs=half"],
        ),
        device=device,
        say=lambda text: None,
    )
    finite = all(
        v.isfinite().all() for v in weights(half / "model.safetensors").values()
    )
    yield "float16", finite, True, finite
    where = checkpoint_device(load_config().train, device)
    yield "checkpoint", " ".join(where), device.type, where == {device.type}

    stock = take_stock(folder)
    steps = [seconds_a_step(stock, d, keys) for d in (device, cpu)]
    yield "train", steps[1] / steps[0], "", True
    images = np.random.default_rng(0).integers(
        0, 256, (2048 if not exact else 256, 32, 32, 3), np.uint8
    )
    speed = [pictures_a_second(m, images) for m in (here, there)]
    yield "predict", speed[0] / speed[1], "", True


def main():
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
    args = parser.parse_args()
    device, out = choose_device(args.device), args.out.absolute()
    precision = str(amp_dtype(device, "auto") or torch.float32).removeprefix("torch.")
    if device.type == "cpu" and not args.device:
        print("no accelerator was found: the same checks run on the CPU")
    rows, start = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as tmp:
        origin = Path.cwd()
        os.chdir(tmp)
        try:
            for check, value, limit, kept in checks(device, args.n, [*KEYS, *args.set]):
                value = f"{value:.3g}" if isinstance(value, float) else value
                rows.append(
                    dict(
                        check=check,
                        value=value,
                        limit=limit,
                        kept="yes" if kept else "no",
                        device=processor(device),
                        precision=precision,
                        torch=torch.__version__,
                    )
                )
                write(out, FIELDS, rows)
        finally:
            os.chdir(origin)
    print(
        pd.DataFrame(rows)[["check", "value", "limit", "kept"]].to_string(index=False)
    )
    print(f"{processor(device)}, {time.perf_counter() - start:.0f} s")
    sys.exit(any(row["kept"] == "no" for row in rows))


if __name__ == "__main__":
    main()
