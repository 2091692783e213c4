"""What does joining cost? Our DenseNet-121 against torchvision's.

Time and memory of a training step and of inference, side by side in one process.

train   forward, cross entropy, backward: both networks as they are and with
        `memory_efficient` (checkpointing)
infer   evaluation mode without gradients, in float32 and in bfloat16 autocast, with the
        colors first and last in memory: both networks, and ours without concatenation,
        with one buffer for each block, and each batch norm that follows a convolution
        folded into it

All networks of a setting have the same random weights and the same random statistics of
batch norm. They take turns, round by round, and their order moves on by one with each
round, after one round that does not count. `seconds` is the median over the rounds, and
`ratio` the median of the rounds' ratios to torchvision's plain network. `memory` is the
peak of the tensors that one step makes, in MB, without the parameters and their
gradients, which are there before; it is counted exactly, and in bfloat16 it holds the
copies of the weights that autocast makes. `difference` is the largest between a logit
and torchvision's. All of it runs on the CPU.
"""

import copy
import statistics
import time
from contextlib import nullcontext
from functools import partial

import torch
import torchvision
from _rows import add_number, command_line, processor, read, write
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tutorial_lib.classifier import PeakMemory
from tutorial_lib.densenet import densenet121

FIELDS = (
    "task setting batch size net seconds ratio memory memory_ratio difference rounds "
    "torch device threads"
).split()


class OneBuffer(nn.Module):
    """A trained `DenseNet` for inference.

    A layer writes its channels where the whole block is kept: nothing is joined."""

    def __init__(self, model):
        super().__init__()
        model = copy.deepcopy(model).eval()
        f = model.features
        f.conv0, f.norm0 = fuse_conv_bn_eval(f.conv0, f.norm0), nn.Identity()
        for name, block in f.named_children():
            if not name.startswith("denseblock"):
                continue
            for layer in block.values():
                layer.conv1 = fuse_conv_bn_eval(layer.conv1, layer.norm2)
                layer.norm2 = nn.Identity()
            setattr(f, name, BufferedBlock(block))
        self.model = model

    def forward(self, x):
        return self.model(x)


class BufferedBlock(nn.Module):
    "A dense block that holds its channels in one tensor."

    def __init__(self, block):
        super().__init__()
        self.layers = nn.ModuleList(block.values())

    def forward(self, x):
        (bs, n, h, w), k = x.shape, self.layers[0].conv2.out_channels
        shape = bs, n + k * len(self.layers), h, w
        is_last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        buffer = torch.empty(shape, dtype=x.dtype, memory_format=layout)
        buffer[:, :n] = x
        for layer in self.layers:
            x = layer.relu2(layer.conv1(layer.relu1(layer.norm1(buffer[:, :n]))))
            buffer[:, n : n + k] = layer.conv2(x)
            n += k
        return buffer


def with_random_statistics(model):
    "Give each batch norm numbers like those of a trained network."
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.3, 0.3)
            nn.init.uniform_(m.running_var, 0.5, 2)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.uniform_(m.bias, -0.3, 0.3)
    return model


def train_nets():
    "Each network to train, and its step: images to logits."

    def step(model, x):
        logits = model(x)
        F.cross_entropy(logits, torch.arange(len(x))).backward()
        return logits.detach()

    theirs = torchvision.models.densenet121
    nets = {
        "torchvision": theirs(),
        "ours": densenet121(),
        "torchvision checkpointed": theirs(memory_efficient=True),
        "ours checkpointed": densenet121(memory_efficient=True),
    }
    with_random_statistics(nets["torchvision"])
    for model in nets.values():
        model.load_state_dict(nets["torchvision"].state_dict())
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
    return {name: partial(step, model) for name, model in nets.items()}


def infer_nets(bf16, last):
    "Each network to ask, and its step: images to logits."
    layout = torch.channels_last if last else torch.contiguous_format
    precision = torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext()

    def step(model, x):
        with torch.no_grad(), precision:
            return model(x.contiguous(memory_format=layout)).float()

    theirs = with_random_statistics(torchvision.models.densenet121())
    ours = densenet121()
    ours.load_state_dict(theirs.state_dict())
    nets = {"torchvision": theirs, "ours": ours, "ours in one buffer": OneBuffer(ours)}
    for model in nets.values():
        model.eval().to(memory_format=layout)
    return {name: partial(step, model) for name, model in nets.items()}


def settings(args):
    "All that is measured: (task, setting, batch, size) and what makes its networks."
    runs = {("train", "float32", *batch): train_nets for batch in args.train}
    for bf16 in False, True:
        for last in False, True:
            setting = "bfloat16" if bf16 else "float32"
            if last:
                setting += ", channels last"
            key = ("infer", setting, *args.infer)
            runs[key] = partial(infer_nets, bf16, last)
    return runs


def measure(nets, x, n_round):
    "For each network its logits, its bytes at the peak, and its seconds in each round."
    logits, peaks, seconds = {}, {}, {name: [] for name in nets}
    for name, step in nets.items():  # also what only the first run pays
        with PeakMemory() as memory:
            logits[name] = step(x)
        peaks[name] = memory.peak
    names = list(nets)
    for i in range(n_round):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter()
            nets[name](x)
            seconds[name].append(time.perf_counter() - start)
    return logits, peaks, seconds


def rows_of(key, make, args):
    "Measure one setting: a row for each network."
    torch.manual_seed(0)
    x = torch.randn(key[2], 3, key[3], key[3])
    logits, peaks, seconds = measure(make(), x, args.rounds)
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds["torchvision"]))
        yield dict(zip(FIELDS, key)) | dict(
            net=name,
            seconds=f"{statistics.median(times):.3f}",
            ratio=f"{ratio:.3f}",
            memory=f"{peaks[name] / 1e6:.1f}",
            memory_ratio=f"{peaks[name] / peaks['torchvision']:.3f}",
            difference=f"{(logits[name] - logits['torchvision']).abs().max():.1e}",
            rounds=args.rounds,
            torch=torch.__version__,
            device=processor(x.device),
            threads=args.threads,
        )


def batch_and_size(text):
    "`8x128` is 8 pictures of 128 pixels."
    batch, size = map(int, text.split("x"))
    return batch, size


def main():
    parser = command_line(__doc__, table="densenet_cost.csv")
    add_number(parser, "--rounds", 15, "how often each network has its turn")
    add_number(parser, "--threads", 2, "threads of PyTorch")
    what = "pictures x pixels, twice (default 8x128 4x224)"
    batches = dict(type=batch_and_size, nargs=2, default=[(8, 128), (4, 224)])
    parser.add_argument("--train", **batches, help=what)
    what = "pictures x pixels (default 8x224)"
    parser.add_argument("--infer", type=batch_and_size, default=(8, 224), help=what)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    rows = read(args.out)
    done = {tuple(r[k] for k in FIELDS[:4]) for r in rows}
    todo = {}
    for key, make in settings(args).items():
        if tuple(map(str, key)) not in done:
            todo[key] = make
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
    for key, make in todo.items():
        for row in rows_of(key, make, args):
            rows.append(row)
            print(row, flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
