"""How well do Siamese heads judge pairs?

Pairs of unseen images of breeds that they learned from, and of breeds that they never
saw. The body has its ImageNet weights and is frozen; each image is encoded once, and
one file of each group of twins is kept. In fold k every fifth breed of Pets, from the
k-th on, is held out: so each breed is held out once. Of the others a fifth of the
images is for validation, in two halves: the threshold is chosen on the first, and
`seen` is judged on the second. All ways of a fold are asked the same pairs.

The heads of the chapter:

joined      a head on both encodings, side by side
symmetric   the same layers, on distance and product
cosine      an embedding with a learned scale, trained on drawn pairs
all_pairs   the same embedding, trained on all pairs of each batch

And ways that learn little or nothing:

untrained   the cosine of the encodings as they are, less the training images' mean
mean_only   the same, of the means alone, without the maxima
whitened    of the means, with directions in which animals of one breed differ shrunk
added       `whitened`, and a quarter of the cosine that `all_pairs` learns from means

ImageNet has 24 of the breeds of Pets too. So the breeds that are new to a head are
judged three times: all of them, those that the body has seen in its training, and those
that nobody has seen. Where a fold has only one of a kind, it asks nothing about it.
`flips` is the share of answers that change when both images are swapped, `minutes` the
time to train.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _rows import command_line, processor, read, write
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from tutorial_lib.core.backbones import build_backbone
from tutorial_lib.core.features import features
from tutorial_lib.data import image_files, pets, split, twins
from tutorial_lib.datablock import breed_label
from tutorial_lib.pairs import PairSampler
from tutorial_lib.siamese import (
    CosineHead,
    JoinedHead,
    SymmetricHead,
    best_threshold,
    fit_head,
    score_pairs,
)

FIELDS = (
    "backbone fold seed way breeds pairs auc accuracy flips minutes torch device"
).split()
NOT_IN_IMAGENET = (
    "Abyssinian Bengal Birman Bombay British_Shorthair Maine_Coon Ragdoll Russian_Blue "
    "Sphynx american_bulldog american_pit_bull_terrier havanese shiba_inu"
).split()


def trained(make, all_pairs, encodings, labels, train, seed):
    "A head, trained: it scores pairs of positions."
    torch.manual_seed(seed)
    head = make(encodings.shape[1])
    fit_head(head, encodings[train], labels[train], all_pairs, seed=seed)
    return partial(score_pairs, head, encodings)


def cosine_of(vectors):
    "It scores pairs of positions by the cosine of their vectors, (n, d)."
    unit = F.normalize(vectors, dim=1)
    return lambda i, j: (unit[i] * unit[j]).sum(1).numpy()


def means(encodings):
    "The half of each encoding that holds means: `features` puts them first."
    return encodings[:, : encodings.shape[1] // 2]


def centered(encodings, train):
    return encodings - encodings[train].mean(0)


def untrained(encodings, labels, train, seed):
    return cosine_of(centered(encodings, train))


def mean_only(encodings, labels, train, seed):
    return cosine_of(centered(means(encodings), train))


def whitening(x, labels, n=256, shrink=0.75):
    """A matrix that makes breeds vary nearly alike in all directions, (d, n).

    It keeps n principal components. The covariance within breeds is mixed with the unit
    matrix, whose share is `shrink`. Both numbers were chosen on breeds of the training
    images that were held out.
    """
    main = torch.linalg.eigh(x.T @ x).eigenvectors[:, -n:]
    x = x @ main
    label = torch.from_numpy(np.unique(labels, return_inverse=True)[1])
    x = x - torch.stack([x[label == k].mean(0) for k in label.unique()])[label]
    covariance = x.T @ x / len(x)
    level = covariance.diagonal().mean() * torch.eye(n)
    values, vectors = torch.linalg.eigh(torch.lerp(covariance, level, shrink))
    return main @ (vectors * values**-0.5) @ vectors.T


def white(encodings, labels, train):
    "The means of encodings, whitened by what the training images say."
    x = centered(means(encodings), train)
    return x @ whitening(x[train], labels[train])


def whitened(encodings, labels, train, seed):
    return cosine_of(white(encodings, labels, train))


def added(encodings, labels, train, seed, weight=0.25):
    x = means(encodings)
    torch.manual_seed(seed)
    head = CosineHead(x.shape[1])
    fit_head(head, x[train], labels[train], all_pairs=True, seed=seed)
    with torch.no_grad():
        learned = cosine_of(head.embed(x))
    fixed = whitened(encodings, labels, train, seed)
    return lambda i, j: fixed(i, j) + weight * learned(i, j)


WAYS = {
    "untrained": untrained,
    "mean_only": mean_only,
    "whitened": whitened,
    "added": added,
    "all_pairs": partial(trained, CosineHead, True),
    "cosine": partial(trained, CosineHead, False),
    "symmetric": partial(trained, SymmetricHead, False),
    "joined": partial(trained, JoinedHead, False),
}
WITHOUT_CHANCE = "untrained mean_only whitened".split()  # one seed is enough


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


def asked_of(labels, report, unseen):
    "The questions about each kind of breeds that there are two or more of."
    new = np.isin(labels[unseen], NOT_IN_IMAGENET)
    kinds = {
        "seen": (report, 10),
        "unseen": (unseen, 3),
        "unseen in ImageNet": (unseen[~new], 3),
        "unseen not in ImageNet": (unseen[new], 3),
    }
    return {
        name: questions(labels, i, n_draw)
        for name, (i, n_draw) in kinds.items()
        if len(set(labels[i])) > 1
    }


def judged(score, asked, threshold):
    "What a way says to pairs: the figures of a row."
    i, j, same = asked
    scores = score(i, j)
    answer = scores >= threshold
    swapped = score(j, i) >= threshold
    return {
        "pairs": len(same),
        "auc": f"{roc_auc_score(same, scores):.4f}",
        "accuracy": f"{(answer == same).mean():.4f}",
        "flips": f"{(answer != swapped).mean():.4f}",
    }


def encode(name, files, cache, mirror):
    "Encodings of all files by one backbone, as it wants its pictures."
    built = build_backbone(name)
    about = built.backbone
    pictures = dict(size=about.size, stats=about.stats, how=about.how)
    cache = cache / (f"{name}_mirror" if mirror else name)
    rows = features(built.model, files, cache, mirror=mirror, **pictures)
    return torch.from_numpy(np.array(rows))


def rows_of(way, encodings, labels, positions, seed):
    "Train one way in one fold, and judge it on all kinds of breeds."
    train, choose, report, unseen = positions
    start = time.perf_counter()
    score = WAYS[way](encodings, labels, train, seed)
    minutes = (time.perf_counter() - start) / 60
    i, j, same = questions(labels, choose, 10)
    threshold = best_threshold(score(i, j), same)
    for breeds, asked in asked_of(labels, report, unseen).items():
        yield {
            "seed": seed,
            "way": way,
            "breeds": breeds,
            **judged(score, asked, threshold),
            "minutes": f"{minutes:.2f}",
            "torch": torch.__version__,
            "device": processor(torch.device("cpu")),
        }


def arguments():
    parser = command_line(__doc__, __file__)
    parser.add_argument(
        "--seeds", type=int, default=3, help="how many seeds for each fold (default 3)"
    )
    names = ["efficientnet_lite0", "efficientnet_lite2"]
    parser.add_argument(
        "--backbones", nargs="+", default=names, help="names of networks"
    )
    cache = Path(tempfile.gettempdir()) / "siamese_encodings"
    parser.add_argument(
        "--cache", type=Path, default=cache, help=f"keeps encodings (default {cache})"
    )
    what = "average over picture and mirror image, as the chapter does? Twice the time"
    parser.add_argument("--mirror", action="store_true", help=what)
    return parser.parse_args()


def main():
    args = arguments()
    rows = read(args.out)
    done = {(r["backbone"], int(r["fold"]), int(r["seed"]), r["way"]) for r in rows}
    files = image_files(pets())
    copies = {i for group in twins(files) for i in group[1:]}
    files = [f for i, f in enumerate(files) if i not in copies]
    labels = np.array([breed_label(f) for f in files])
    for backbone in args.backbones:
        todo = [
            (seed, way, fold)
            for seed in range(args.seeds)
            for way in WAYS
            for fold in range(5)
            if (backbone, fold, seed, way) not in done
            and not (seed and way in WITHOUT_CHANCE)
        ]
        if not todo:
            continue
        encodings = encode(backbone, files, args.cache, args.mirror)
        for seed, way, fold in todo:
            positions = parts(files, labels, fold)
            for row in rows_of(way, encodings, labels, positions, seed):
                rows.append({"backbone": backbone, "fold": fold, **row})
                print(rows[-1], flush=True)
            write(args.out, FIELDS, rows)


if __name__ == "__main__":
    main()
