"""How well do Siamese heads judge pairs?

Pairs of unseen images of breeds that they learned from, and of breeds that they never
saw. The body is SqueezeNet with its ImageNet weights, frozen; each image is encoded
once, and one file of each group of twins is kept. In fold k every fifth breed of Pets,
from the k-th on, is held out: so each breed is held out once. Of the others a fifth of
the images is for validation, in two halves: the threshold is chosen on the first, and
`seen` is judged on the second. All heads of a fold are asked the same pairs. The ways
are those of the chapter:

joined      a head on both encodings, side by side
symmetric   the same layers, on distance and product
cosine      an embedding with a learned scale, trained on drawn pairs
all_pairs   the same embedding, trained on all pairs of each batch

`flips` is the share of answers that change when both images are swapped. `minutes` is
the time to train the head, `encode_minutes` the time to encode all images, in the run
that made the row.
"""

import time

import numpy as np
import torch
from _rows import command_line, processor, read, write
from sklearn.metrics import roc_auc_score
from torchvision.models import squeezenet1_0

from tutorial_lib.data import image_files, pets, split, twins
from tutorial_lib.datablock import breed_label
from tutorial_lib.pairs import PairSampler
from tutorial_lib.siamese import (
    CosineHead,
    Encoder,
    JoinedHead,
    Siamese,
    SymmetricHead,
    best_threshold,
    encode_files,
    fit_head,
    score_pairs,
)

FIELDS = (
    "fold seed way breeds pairs auc accuracy flips minutes encode_minutes torch device"
).split()
WAYS = {
    "joined": (JoinedHead, False),
    "symmetric": (SymmetricHead, False),
    "cosine": (CosineHead, False),
    "all_pairs": (CosineHead, True),
}


def questions(labels, i, n_draw):
    """First images, second images, and whether they are of one breed.

    There are `n_draw` pairs for each image.
    """
    draws = [PairSampler(labels[i]).draw(seed) for seed in range(n_draw)]
    partners, same = (np.concatenate(parts) for parts in zip(*draws))
    return np.tile(i, n_draw), i[partners], same


def parts(files, labels, fold):
    """Positions of four kinds of images.

    Those to train on, to choose the threshold with, to judge, and of the breeds that
    are held out.
    """
    unseen = np.isin(labels, sorted(set(labels))[fold::5])

    def halves(i, share, seed):
        a, b = split([files[k] for k in i], labels[i].tolist(), share, seed)
        return i[a], i[b]

    train, valid = halves(np.flatnonzero(~unseen), 0.2, 42)
    return train, *halves(valid, 0.5, 43), np.flatnonzero(unseen)


def judged(head, encodings, asked, threshold):
    "What the head says to pairs: the figures of a row."
    i, j, same = asked
    score = score_pairs(head, encodings, i, j)
    answer = score >= threshold
    swapped = score_pairs(head, encodings, j, i) >= threshold
    return {
        "pairs": len(same),
        "auc": f"{roc_auc_score(same, score):.4f}",
        "accuracy": f"{(answer == same).mean():.4f}",
        "flips": f"{(answer != swapped).mean():.4f}",
    }


def main():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--seeds", type=int, default=3, help="how many seeds for each fold (default 3)"
    )
    args = parser.parse_args()

    rows = read(args.out)
    done = {(int(r["fold"]), int(r["seed"]), r["way"]) for r in rows}
    todo = [
        (seed, fold, way)
        for seed in range(args.seeds)
        for fold in range(5)
        for way in WAYS
        if (fold, seed, way) not in done
    ]
    if not todo:
        print(f"{args.out} is complete: delete it to run again")
        return

    files = image_files(pets())
    copies = {i for group in twins(files) for i in group[1:]}
    files = [f for i, f in enumerate(files) if i not in copies]
    labels = np.array([breed_label(f) for f in files])
    encoder = Encoder(squeezenet1_0)
    start = time.perf_counter()
    encodings = encode_files(Siamese(encoder, CosineHead(encoder.n_out)), files)
    encode_minutes = (time.perf_counter() - start) / 60

    for seed, fold, way in todo:
        train, choose, report, unseen = parts(files, labels, fold)
        make, all_pairs = WAYS[way]
        torch.manual_seed(seed)
        start = time.perf_counter()
        head = make(encoder.n_out)
        fit_head(head, encodings[train], labels[train], all_pairs, seed=seed)
        minutes = (time.perf_counter() - start) / 60
        i, j, same = questions(labels, choose, 10)
        threshold = best_threshold(score_pairs(head, encodings, i, j), same)
        for breeds, positions, n_draw in ("seen", report, 10), ("unseen", unseen, 3):
            asked = questions(labels, positions, n_draw)
            rows.append(
                {
                    "fold": fold,
                    "seed": seed,
                    "way": way,
                    "breeds": breeds,
                    **judged(head, encodings, asked, threshold),
                    "minutes": f"{minutes:.2f}",
                    "encode_minutes": f"{encode_minutes:.2f}",
                    "torch": torch.__version__,
                    "device": processor(torch.device("cpu")),
                }
            )
            print(rows[-1], flush=True)
        write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
