"""How accurate is CIFAR-10 after ten minutes on two cores?

The last rung of chapter 05: ideas of the fastest published recipes, in a network narrow
enough for a processor. From Page (2018, myrtle.ai/learn/how-to-train-your-resnet) and
from Jordan (2024, arXiv 2404.00498):

- a first layer that is computed and not learned: it whitens patches of 2x2 pixels
- pools before batch norm, and convolutions that begin near the identity
- label smoothing, SGD with Nesterov momentum, and a rate that rises and falls in
  straight lines
- mirroring that takes turns: each picture is as it is in one epoch and mirrored in the
  next
- weights that judge are a running mean of those that train
- each test picture is judged together with its mirror image

As in these works, it trains on all 50,000 training pictures. Nothing was chosen by the
test set. Colors are last in memory. Core-seconds are those of training, reading not
counted: ten minutes on two cores are 1,200. How far they reach depends on the kind of
processor, so there are two sizes: one in bfloat16, for those that are fast at it, and
one of half as many channels in float32.
"""

from copy import deepcopy
from itertools import product

import torch
from _rows import Stopwatch, add_number, command_line, processor, read, write
from torch import nn
from torch.nn import functional as F

from tutorial_lib.classifier import ImageArrays, augment, bf16_is_fast
from tutorial_lib.data import load

FIELDS = (
    "floats seed accuracy mirrored core_seconds seconds epochs width torch device "
    "threads data"
).split()
BS, TOP, DECAY, SMOOTHING = 250, 0.5, 5e-4, 0.15

# Kind of floats -> channels of the first block, epochs.
SIZES = {"bfloat16": (64, 16), "float32": (32, 16)}


class Whitening(nn.Conv2d):
    "Patches of 2x2 pixels, made independent and of one size; and their negatives."

    def __init__(self, x):
        super().__init__(3, 24, 2, bias=False)
        patches = F.unfold(x, 2, stride=2).movedim(1, 2).reshape(-1, 12)
        size, axes = torch.linalg.eigh(torch.cov(patches.T))
        kernels = (axes / (size + 5e-4).sqrt()).T.reshape(12, 3, 2, 2)
        self.weight.data = torch.cat([kernels, -kernels])
        self.weight.requires_grad_(False)


def conv(n_in, n_out):
    "A convolution whose first channels hand on what comes in."
    layer = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight[:n_in].data)
    return layer


def block(n_in, n_out):
    parts = [conv(n_in, n_out), nn.MaxPool2d(2), nn.BatchNorm2d(n_out), nn.GELU()]
    return [*parts, conv(n_out, n_out), nn.BatchNorm2d(n_out), nn.GELU()]


class Scaled(nn.Module):
    def forward(self, x):
        return x / 8


def make_net(x, width):
    "x: some pictures, centered."
    last = [nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3 * width, 10, bias=False)]
    blocks = block(24, width) + block(width, 3 * width) + block(3 * width, 3 * width)
    return nn.Sequential(Whitening(x), nn.GELU(), *blocks, *last, Scaled())


def is_mirrored(i, epoch):
    "Which of the pictures have their turn. Half of all begin mirrored."
    return (i * 2654435761 // 65536 + epoch) % 2 == 1


def forward_in(floats):
    "A function that runs a network, in bfloat16 or not."

    def forward(net, xb):
        xb = xb.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=floats == "bfloat16"):
            return net(xb).float()

    return forward


def rate(step, n_step):
    share = step / n_step
    return TOP * max(min(share / 0.2, (1 - share) / 0.8), 1e-3)


@torch.no_grad()
def follow(mean, net, keep):
    "Move a running mean of weights and statistics toward those of `net`."
    for a, b in zip(mean.state_dict().values(), net.state_dict().values()):
        if a.is_floating_point():
            a.lerp_(b, 1 - keep)


def train(x, y, n_epoch, width, forward):
    "The running mean of a network that learns `x`."
    net = make_net(x[:5000], width).to(memory_format=torch.channels_last)
    mean = deepcopy(net).eval()
    style = dict(momentum=0.9, nesterov=True, weight_decay=DECAY)
    opt = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 1, **style)
    n_step, step = n_epoch * (len(x) // BS), 0
    for epoch in range(n_epoch):
        for i in torch.randperm(len(x)).split(BS):
            opt.param_groups[0]["lr"] = rate(step, n_step)
            xb = augment(x[i], pad=2, flip=is_mirrored(i, epoch))
            logits = forward(net, xb)
            F.cross_entropy(logits, y[i], label_smoothing=SMOOTHING).backward()
            opt.step()
            opt.zero_grad()
            step += 1
            if step % 5 == 0:
                follow(mean, net, min(0.95, 1 - rate(step, n_step) / TOP))
    return mean


@torch.inference_mode()
def judge(net, x, y, forward):
    "Accuracy as it is, and mirrored too."
    pairs = [(forward(net, xb), forward(net, xb.flip(3))) for xb in x.split(500)]
    once, other = map(torch.cat, zip(*pairs))
    rights = (once.argmax(1) == y), ((once + other).argmax(1) == y)
    return [f"{right.float().mean().item():.4f}" for right in rights]


def main():
    parser = command_line(__doc__, table="ninety.csv")
    add_number(parser, "--seeds", 1, "how many seeds")
    add_number(parser, "--threads", 2, "threads of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    path = load("cifar10")
    sets = [ImageArrays.from_folder(path / part) for part in ("train", "test")]
    (x, y), (x_test, y_test) = [ds[list(range(len(ds)))] for ds in sets]
    center, spread = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    x, x_test = (x - center) / spread, (x_test - center) / spread

    rows = read(args.out)
    done = {(row["floats"], int(row["seed"])) for row in rows}
    for seed, floats in product(range(args.seeds), SIZES):
        if (floats, seed) in done or (floats == "bfloat16" and not bf16_is_fast("cpu")):
            continue
        width, n_epoch = SIZES[floats]
        forward = forward_in(floats)
        torch.manual_seed(seed)
        watch = Stopwatch()
        net = train(x, y, n_epoch, width, forward)
        seconds, core_seconds = watch.both
        accuracy, mirrored = judge(net, x_test, y_test, forward)
        row = dict(
            floats=floats,
            seed=seed,
            accuracy=accuracy,
            mirrored=mirrored,
            core_seconds=f"{core_seconds:.0f}",
            seconds=f"{seconds:.0f}",
            epochs=n_epoch,
            width=width,
            torch=torch.__version__,
            device=processor(torch.device("cpu")),
            threads=args.threads,
            data=f"{path.name}: {len(x)} + {len(x_test)}",
        )
        rows.append(row)
        print(row, flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
