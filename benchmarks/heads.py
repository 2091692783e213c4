"""How small is a head, and how soon is it in use?

A body with random weights gets heads of 2, 10, 37 and 100 classes. `bytes` is the
length of the file of a head with its class names and its configuration, `body_bytes`
that of a file that holds the body too. `read_ms` is the time to switch to a head in a
file, `switch_ms` to one that is in memory (`Model.use`), `load_ms` the time of
`load_model` on the file that holds the body too: body built, weights read, fingerprint
checked. Each is the median of several. `ratio` says how many times as long as `read_ms`
`load_ms` is. `densenet_tiny` gives 528 features at 32 pixels, `efficientnet_lite0`
gives 2,560 at 224.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from _rows import command_line, processor, read, write

from tutorial_lib.config import annotated
from tutorial_lib.core.bodies import make_body
from tutorial_lib.trainer import Head, Model, load_model, save_head

FIELDS = (
    "body features classes bytes body_bytes "
    "read_ms switch_ms load_ms ratio torch device"
).split()


def head_of(body, n):
    torch.manual_seed(n)
    names = [f"class number {k}" for k in range(n)]
    return Head(
        torch.randn(n, body.n_features),
        torch.randn(n),
        names,
        body.name,
        body.fingerprint,
        body.layer,
        body.size,
        config=annotated(),
        stats=body.stats,
        how=body.how,
    )


def milliseconds(work, times):
    "The median time of a piece of work."
    took = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        took.append(1e3 * (time.perf_counter() - start))
    return statistics.median(took)


def row(name, n, times):
    "Measure a body with a head of n classes."
    torch.manual_seed(0)
    body = make_body(name, pretrained=False)
    head, other = head_of(body, n), head_of(body, 5)
    model = Model(body, other)
    with tempfile.TemporaryDirectory() as tmp:
        alone = save_head(head, Path(tmp) / "head.safetensors")
        both = save_head(head, Path(tmp) / "model.safetensors", body)
        reading = milliseconds(lambda: model.use(alone), times)
        switching = milliseconds(lambda: model.use(other).use(head), times) / 2
        loading = milliseconds(lambda: load_model(both), max(times // 10, 1))
        return {
            "body": name,
            "features": body.n_features,
            "classes": n,
            "bytes": alone.stat().st_size,
            "body_bytes": both.stat().st_size,
            "read_ms": f"{reading:.3f}",
            "switch_ms": f"{switching:.4f}",
            "load_ms": f"{loading:.1f}",
            "ratio": f"{loading / reading:.0f}",
            "torch": torch.__version__,
            "device": processor(torch.device("cpu")),
        }


def main():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--bodies",
        nargs="+",
        default=["densenet_tiny", "efficientnet_lite0"],
        help="names of networks (default densenet_tiny and efficientnet_lite0)",
    )
    parser.add_argument(
        "--classes",
        type=int,
        nargs="+",
        default=[2, 10, 37, 100],
        help="numbers of classes (default 2, 10, 37 and 100)",
    )
    parser.add_argument(
        "--times",
        type=int,
        default=50,
        help="switches of a head, and ten times the loads of a body (default 50)",
    )
    args = parser.parse_args()

    rows = read(args.out)
    done = {(r["body"], int(r["classes"])) for r in rows}
    cells = [(name, n) for name in args.bodies for n in args.classes]
    todo = [cell for cell in cells if cell not in done]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return
    for name, n in todo:
        rows.append(row(name, n, args.times))
        print(rows[-1], flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
