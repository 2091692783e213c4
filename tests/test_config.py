"""Configurations: what is wrong is refused by file, line and key.

What is right is written and read back as the same.
"""

import getpass
import os
import pickle
import platform
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import NoneType
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tutorial_lib import config as module
from tutorial_lib.config import (
    KEYS,
    RECIPES,
    RULES,
    Config,
    ConfigError,
    DataConfig,
    TrainConfig,
    annotated,
    load_config,
    save_config,
)
from tutorial_lib.core.keys import value_of
from tutorial_lib.core.layers import MOST_BYTES, merge, nested, read_tree

FIELDS, SECTIONS = KEYS.fields, KEYS.sections
RECIPE_FILES = sorted(Path(module.__file__).with_name("recipes").iterdir())
BOMB = "\n".join(
    [
        "a: &a [x, x, x, x, x, x, x, x, x]",
        *(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]"
            for a, b in zip("abcdefghijk", "bcdefghijkl")
        ),
    ]
)
TRAIN = "it takes the keys probe, strategy, epochs"

# What a file holds, and a piece of each mistake that has to be named, in order.
BAD = {
    "empty": ("", ["my.yaml is empty: write a key, such as `recipe: fast`"]),
    "comments alone": ("# recipe: full\n\n", ["my.yaml is empty"]),
    "an empty document": ("---\n", ["my.yaml is empty"]),
    "a list": (
        "- train\n- data\n",
        ["my.yaml, line 1: a list stands where keys have to be: write `train:`"],
    ),
    "a word": ("\nfast\n", ['my.yaml, line 2: "fast" stands where keys have to be']),
    "unknown key": (
        "train:\n  lrr: 1\n",
        [
            "my.yaml, line 2: there is no key train.lrr: did you mean train.lr? "
            "It takes a number, above 0 and at most 10"
        ],
    ),
    "unknown section": (
        "trian:\n  lr: 1\n",
        ["my.yaml, line 1: there is no key trian: did you mean train?"],
    ),
    "section left out": (
        "epochs: 3\n",
        ["line 1: there is no key epochs: did you mean train.epochs?"],
    ),
    "wrong section": (
        "data:\n  batch_size: 8\n",
        ["line 2: there is no key data.batch_size: did you mean train.batch_size?"],
    ),
    "capitals and hyphens": (
        "train:\n  Batch-Size: 8\n",
        ["line 2: there is no key train.Batch-Size: did you mean train.batch_size?"],
    ),
    "all capitals": (
        "train:\n  MOMENTUM: 8\n",
        ["line 2: there is no key train.MOMENTUM: did you mean train.momentum?"],
    ),
    "unlike any key": (
        "data:\n  zzz: 8\n",
        ["line 2: there is no key data.zzz: data takes the keys folder, valid, test"],
    ),
    "unlike any key at the top": (
        "cheese: 8\n",
        ["line 1: there is no key cheese: the keys at the top are recipe, data, model"],
    ),
    "key in one word": (
        "train.lr: 1\n",
        [
            "line 1: train.lr stands in one word: "
            "write `train:`, and `lr:` indented below it"
        ],
    ),
    "key that is a number": ("1: 2\n", ["line 1: there is no key 1:"]),
    "key that is a list": ("? [train]\n: 2\n", ["line 1: there is no key ?:"]),
    "merge key": ("train:\n  <<: {lr: 1}\n", ["line 2: there is no key train.<<:"]),
    "text for a number": (
        "train:\n  lr: fast\n",
        ['line 2: train.lr is "fast": it takes a number, above 0'],
    ),
    "number in quotes": (
        "train:\n  lr: '0.1'\n",
        ['line 2: train.lr is "0.1": it takes a number'],
    ),
    "switch for a number": (
        "train:\n  lr: true\n",
        ["line 2: train.lr is true: it takes a number"],
    ),
    "yes for a switch": (
        "model:\n  pretrained: yes\n",
        ['line 2: model.pretrained is "yes": it takes true or false'],
    ),
    "one for a switch": (
        "model:\n  pretrained: 1\n",
        ["line 2: model.pretrained is 1: it takes true or false"],
    ),
    "broken number": (
        "train:\n  epochs: 2.5\n",
        ["line 2: train.epochs is 2.5: it takes a whole number"],
    ),
    "number with a point": (
        "train:\n  epochs: 2.0\n",
        ["line 2: train.epochs is 2.0: it takes a whole number"],
    ),
    "too large": (
        "train:\n  lr: 11\n",
        ["line 2: train.lr is 11: it takes a number, above 0 and at most 10"],
    ),
    "too small": (
        "train:\n  lr: 0\n",
        ["line 2: train.lr is 0: it takes a number, above 0"],
    ),
    "not finite": (
        "train:\n  lr: .inf\n  momentum: .nan\n",
        ["line 2: train.lr is Infinity", "line 3: train.momentum is NaN"],
    ),
    "thousands of digits": (
        f"train:\n  epochs: {'9' * 5000}\n",
        ['line 2: train.epochs is "9999'],
    ),
    "not a choice": (
        "train:\n  optimizer: lion\n",
        ['line 2: train.optimizer is "lion": it takes one of adam, sgd'],
    ),
    "no such recipe": (
        "recipe: ful\n",
        ['line 1: recipe is "ful": it takes one of fast, classifier, full'],
    ),
    "number for text": (
        "output:\n  run_name: 12\n",
        [
            "line 2: output.run_name is 12: it takes text in one line of at most "
            "500 characters, or null. Put it into quotes"
        ],
    ),
    "text of two lines": (
        'output:\n  run_name: "a\\nb"\n',
        ['line 2: output.run_name is "a\\nb": it takes text in one line'],
    ),
    "empty text": (
        "output:\n  runs: ''\n",
        ['line 2: output.runs is "": it takes text'],
    ),
    "text too long": (
        f"output:\n  run_name: {'a' * 501}\n",
        ['line 2: output.run_name is "aaa'],
    ),
    "nothing for a number": (
        "train:\n  lr:\n",
        ["line 2: train.lr is null: it takes a number, above 0"],
    ),
    "empty section": ("train:\n  # lr: 1\n", [f"line 1: train is null: {TRAIN}"]),
    "number for a section": ("train: 5\n", [f"line 1: train is 5: {TRAIN}"]),
    "list for a section": (
        "train:\n  - lr: 1\n",
        [f'line 1: train is [{{"lr": 1}}]: {TRAIN}'],
    ),
    "section for a number": (
        "train:\n  lr: {a: 1}\n",
        ['line 2: train.lr is {"a": 1}: it takes a number'],
    ),
    "list for a choice": (
        "train:\n  keep: [best]\n",
        ['line 2: train.keep is ["best"]: it takes one of best, last'],
    ),
    "a key twice": (
        "train:\n  lr: 1\n  seed: 1\n  lr: 2\n",
        ["line 4: train.lr stands twice, the first time in line 2: keep one"],
    ),
    "a section twice": (
        "train:\n  lr: 1\ntrain:\n  seed: 2\n",
        ["line 3: train stands twice, the first time in line 1"],
    ),
    "a key twice in a list": (
        "data: [{a: 1, a: 2}]\n",
        ["line 1: data is [", "line 1: data..a stands twice"],
    ),
    "tab before a key": ("train:\n\tlr: 1\n", ["line 2: a tab: indent with spaces"]),
    "tab at the start": ("\trecipe: full\n", ["line 1: a tab"]),
    "open bracket": ("train: {lr: 1\ndata: 2\n", ["this is not YAML ("]),
    "open quote": (
        "output:\n  run_name: 'a\n",
        [
            "line 3: this is not YAML (found unexpected end of stream, in what begins "
            "in line 2): look for a missing bracket, quote, colon or space"
        ],
    ),
    "no colon": (
        "train:\n  lr 1\n  seed: 2\n",
        ["line 3: this is not YAML (mapping values are not allowed here)"],
    ),
    "two colons": (
        "train: lr: 1\n",
        ["line 1: this is not YAML (mapping values are not allowed here)"],
    ),
    "wrong indentation": (
        "train:\n  lr: 1\n seed: 2\n",
        ["line 3: this is not YAML ("],
    ),
    "reserved sign": (
        "output:\n  run_name: @me\n",
        ["line 2: this is not YAML (found character '@' that cannot start any token)"],
    ),
    "another version": (
        "%YAML 3.0\n---\nrecipe: full\n",
        ["this is not YAML (found incompatible YAML document"],
    ),
    "two documents": (
        "recipe: full\n---\nrecipe: fast\n",
        ["line 2: a second document begins here: keep one"],
    ),
    "anchor": (
        "train: &t\n  lr: 1\n",
        ["line 1: an anchor (&) or an alias (*): write the value itself"],
    ),
    "unknown alias": ("train: *t\n", ["line 1: an anchor (&) or an alias (*)"]),
    "bomb of aliases": (BOMB, ["line 1: an anchor (&) or an alias (*)"]),
    "tag of Python": (
        "train: !!python/object/apply:os.system ['echo']\n",
        ["line 1: a tag (!): write a plain value"],
    ),
    "tag of YAML": ("train:\n  lr: !!float '0.1'\n", ["line 2: a tag (!)"]),
    "set": ("train: !!set {lr}\n", ["line 1: a tag (!)"]),
    "thousands of brackets": (
        "[" * 5000,
        ["line 1: brackets in brackets in brackets: write `section:`"],
    ),
    "thousands of braces": ("{a: " * 5000, ["line 1: brackets in brackets"]),
    "thousands of lists": ("- " * 5000, ["line 1: brackets in brackets"]),
    "control character": (
        'recipe: full\nmodel:\n  name: "a\0"\n',
        ["line 3: the character '\\x00' is not allowed in YAML"],
    ),
    "half a character": (
        b"recipe: full\nmodel: {name: \xff}\n",
        ["line 2: the byte 0xff is not UTF-8: save the file as UTF-8"],
    ),
    "UTF-16": (
        "recipe: full\n".encode("utf-16"),
        ["line 1: the byte 0xff is not UTF-8"],
    ),
    "Latin-1": (
        "output:\n  run_name: Höhle\n".encode("latin-1"),
        ["line 2: the byte 0xf6 is not UTF-8"],
    ),
    "a picture": (
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
        ["line 1: the byte 0x89 is not UTF-8"],
    ),
    "too many bytes": (
        "# recipe\n" * 5000,
        [
            "my.yaml has more than 32,768 bytes, so it is no configuration: "
            "is it the right file?"
        ],
    ),
    "name that is a path": (
        "output:\n  run_name: a/b\n",
        ['line 2: output.run_name is "a/b": it has to be the name of one folder'],
    ),
    "name of the folder above": (
        "output:\n  run_name: ..\n",
        ['line 2: output.run_name is "..": it has to be the name of one folder'],
    ),
    "nothing left": (
        "data:\n  valid: 0.5\n  test: 0.5\n",
        ["line 3: data.valid is 0.5 and data.test is 0.5: less than a tenth is left"],
    ),
    "contradicts the recipe": (
        "recipe: full\ntrain:\n  schedule: one_cycle\n",
        [
            'line 3: train.schedule is "one_cycle" and train.lr_every is 10 '
            "(from the recipe): one_cycle sets"
        ],
    ),
    "many at once": (
        "recipe: full\ntrian: 1\ntrain:\n  lr: fast\n  seed: 1\n  seed: 2\n"
        "  epochs: 3\n  validate_every: 9\n  validate_from: 7\nlr: 1\n",
        [
            "line 2: there is no key trian",
            "line 4: train.lr is",
            "line 6: train.seed stands twice",
            "line 10: there is no key lr",
            "line 9: train.epochs is 3 and train.validate_from is 7",
        ],
    ),
}

GOOD = {
    "a recipe alone": ("recipe: full\n", dict(recipe="full", optimizer="sgd")),
    "one key": ("train:\n  lr: 1e-3\n", dict(lr=1e-3)),
    "a whole number where any number may stand": ("train:\n  lr: 1\n", dict(lr=1.0)),
    "a number in YAML's present form": (
        "train:\n  batch_size: 010\n",
        dict(batch_size=10),
    ),
    "braces": ("train: {lr: 1E-3, seed: 0x10}\n", dict(lr=1e-3, seed=16)),
    "JSON": ('{"train": {"lr": 0.001, "minutes": null}}', dict(lr=1e-3, minutes=None)),
    "a mark of UTF-8 first": ("\ufefftrain:\n  seed: 3\n", dict(seed=3)),
    "line ends of Windows": ("train:\r\n  seed: 3\r\n", dict(seed=3)),
    "three dashes and dots": ("---\ntrain:\n  seed: 3\n...\n", dict(seed=3)),
    "a name in Korean": (
        "output:\n  run_name: 고양이와 개\n",
        dict(run_name="고양이와 개"),
    ),
    "a date for a name": (
        "output:\n  run_name: 2020-01-01\n",
        dict(run_name="2020-01-01"),
    ),
    "a name in quotes": ("output:\n  run_name: '12'\n", dict(run_name="12")),
    "no in quotes or not": ("output:\n  run_name: no\n", dict(run_name="no")),
    "signs in quotes": (
        "output:\n  run_name: '&a *b !c [d]'\n",
        dict(run_name="&a *b !c [d]"),
    ),
}


def write(folder, data):
    path = folder / "my.yaml"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def mistakes(path=None, overrides=()):
    "The mistakes that are named, without the folder that a file is in."
    with pytest.raises(ConfigError) as e:
        load_config(path, overrides)
    assert str(e.value).splitlines() == e.value.mistakes, "a line for each mistake"
    return [
        text.replace(f"{path.parent}{os.sep}", "") if path else text
        for text in e.value.mistakes
    ]


def flat(config):
    return {key.rpartition(".")[2]: value_of(config, key) for key in FIELDS}


@pytest.mark.parametrize("data, pieces", BAD.values(), ids=BAD)
def test_what_is_wrong_is_named(data, pieces, tmp_path):
    said = mistakes(write(tmp_path, data))
    assert len(said) == len(pieces) and all(
        piece in text for piece, text in zip(pieces, said)
    ), said
    assert all(
        text.startswith(("my.yaml, line ", "my.yaml is empty", "my.yaml has more"))
        and len(text) < 600
        for text in said
    )


@pytest.mark.parametrize("data, values", GOOD.values(), ids=GOOD)
def test_what_is_right_is_read(data, values, tmp_path):
    read = flat(load_config(write(tmp_path, data)))
    assert {key: read[key] for key in values} == values and {
        type(read[key]) for key in values
    } == {type(v) for v in values.values()}


def test_a_file_that_is_none_is_named(tmp_path):
    for path, kind, words in [
        (
            tmp_path / "no.yaml",
            FileNotFoundError,
            "no.yaml is not there: check the name",
        ),
        (
            tmp_path,
            IsADirectoryError,
            f"{tmp_path} is a folder: give the name of a YAML file",
        ),
    ]:
        with pytest.raises(kind, match=re.escape(words)):
            load_config(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_devices_and_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in tmp_path / "pipe.yaml", Path("/dev/zero"):
        with pytest.raises(
            ConfigError, match="is a device or a pipe: give the name of a YAML file"
        ):
            load_config(path)


@pytest.mark.parametrize("name", ["bomb", "brackets", "huge"])
def test_a_hostile_file_takes_no_memory(name, tmp_path):
    path = write(tmp_path, {"bomb": BOMB, "brackets": "[" * 32_000, "huge": ""}[name])
    if name == "huge":
        os.truncate(path, 20 * 2**30)  # a file of zeros that takes no room on the disk
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            load_config(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text, words",
    [
        (
            "train.lrr=1e-3",
            "command line, train.lrr=1e-3: "
            "there is no key train.lrr: did you mean train.lr?",
        ),
        ("train.lr=", "train.lr is null"),
        ("train.lr", "command line, train.lr: write key=value, such as train.lr=1e-3"),
        ("=1", "write key=value"),
        ("", "write key=value"),
        ("train.=1", "write key=value"),
        (".lr=1", "write key=value"),
        ("train.lr=[", "command line, train.lr=[: this is not YAML"),
        ("train.lr=&a 1", "an anchor"),
        ("train.lr=!!int 1", "a tag"),
        ("train.lr=a: b", 'train.lr is {"a": "b"}'),
        ("train=1", "train is 1: it takes the keys probe"),
        ("train.lr.x=1", 'train.lr is {"x": 1}'),
        ("lr=1", "there is no key lr: did you mean train.lr?"),
        ("recipe=ful", 'recipe is "ful": it takes one of fast'),
        ("train.lr=\t1\n- 2", "command line, train.lr= 1 - 2: "),
        ("output.run_name=" + "a" * 9999, "output.run_name is"),
        ("train.strategy=probe=1", "train.strategy is"),
        ("train.lr=\0", "is not allowed in YAML"),
    ],
)
def test_an_override_is_refused_in_the_same_words(text, words):
    (said,) = mistakes(None, [text])
    assert words in said and said.startswith("command line, ") and len(said) < 600


@pytest.mark.parametrize(
    "key, value",
    [
        ("train.lr", "fast"),
        ("train.lrr", "1"),
        ("data.size", "1e9"),
        ("modle", "1"),
        ("train", "1"),
        ("output.run_name", "a/b"),
        ("train.lr_every", "3"),
        ("model.name", "[a]"),
    ],
)
def test_file_and_command_line_speak_alike(key, value, tmp_path):
    section, _, name = key.rpartition(".")
    here = mistakes(
        write(
            tmp_path,
            f"{section}:\n  {name}: {value}\n" if section else f"{name}: {value}\n",
        )
    )
    there = mistakes(None, [f"{key}={value}"])
    assert [text.partition(": ")[2] for text in here] == [
        text.partition(": ")[2] for text in there
    ]


IN_PYTHON = [  # what is said on the command line, and the same in Python
    ("train.epoch=3", dict(train={"epoch": 3})),
    ("train.lr=fast", dict(train={"lr": "fast"})),
    ("train.lr=0", dict(train={"lr": 0})),
    ("trian.lr=1", dict(trian={"lr": 1})),
    ("data.batch_size=8", dict(data={"batch_size": 8})),
    ("lr=1", dict(lr=1)),
    ("cheese=8", dict(cheese=8)),
    ("recipe=ful", dict(recipe="ful")),
    ("train=5", dict(train=5)),
    ("train=null", dict(train=None)),
    ("train.keep=[best]", dict(train={"keep": ["best"]})),
    ("output.run_name=12", dict(output={"run_name": 12})),
    ("output.run_name=a/b", dict(output={"run_name": "a/b"})),
    ("data.zzz=8", dict(data={"zzz": 8})),
    ("train.batch_size=8.0", dict(train={"batch_size": 8.0})),
    (
        "train={Batch-Size: 8, lr: 11, seed: 1, 1: 2}",
        dict(train={"Batch-Size": 8, "lr": 11, "seed": 1, 1: 2}),
    ),
]


@pytest.mark.parametrize(
    "override, keys", IN_PYTHON, ids=[text for text, _ in IN_PYTHON]
)
def test_python_is_told_what_a_file_is_told(override, keys):
    with pytest.raises(ValueError) as e:
        Config(**keys)
    assert (
        isinstance(e.value, ConfigError)
        and str(e.value).splitlines() == e.value.mistakes
    )
    assert sorted(e.value.mistakes) == sorted(
        text.partition(": ")[2]
        if not override.startswith("train={")
        else text.partition("}: ")[2]
        for text in mistakes(None, [override])
    )


def test_a_section_that_is_made_in_python_is_told_its_own_name():
    for make, words in [
        (
            lambda: TrainConfig(epoch=3),
            "there is no key train.epoch: did you mean train.epochs? "
            "It takes a whole number, at least 1 and at most 10,000",
        ),
        (
            lambda: DataConfig(valid=2),
            "data.valid is 2: it takes a number, above 0 and at most 0.9",
        ),
        (lambda: Config(train=DataConfig(valid=0.1)), "train is DataConfig("),
        (lambda: Config(train=DataConfig()), "train is DataConfig("),
        (
            lambda: Config(data={"folder": Path("a")}),
            f"data.folder is {Path('a')!r}: it takes text in one line",
        ),
        (
            lambda: Config(data={"valid": 0.5, "test": 0.5}),
            "data.valid is 0.5 and data.test is 0.5: less than a tenth is left",
        ),
        (
            lambda: Config(data={"workers": {(1, 2): 3}}),
            "data.workers is {(1, 2): 3}: it takes a whole number",
        ),
        (
            lambda: Config(**{"train.lr": 1}),
            'train.lr stands in one word: write train={"lr": ...}',
        ),
    ]:
        with pytest.raises(ConfigError, match=re.escape(words)) as e:
            make()
        assert e.value.mistakes[0].startswith(words)
    assert (
        pickle.loads(pickle.dumps(Config(train={"lr": 1.0}))).train.lr == 1
        and Config(train=TrainConfig(lr=1)).train.lr == 1
    )


def test_the_nearer_one_wins(tmp_path):
    path = write(tmp_path, "recipe: classifier\ntrain:\n  lr: 0.5\n  seed: 7\n")
    got = load_config(
        path,
        [
            "train.seed=8",
            "data={size: 64, valid: 0.1}",
            "train.seed=9",
            " model.name = resnet18",
        ],
    )
    assert (
        got.train.lr,
        got.train.seed,
        got.data.size,
        got.data.valid,
        got.model.name,
    ) == (0.5, 9, 64, 0.1, "resnet18")
    assert (got.train.batch_size, got.train.strategy) == (
        8,
        "head",
    ) and got.recipe == "classifier"
    assert (
        load_config(path, ["recipe=full"]).train.optimizer == "sgd"
        and load_config() == Config()
    )
    with pytest.raises(TypeError, match="give a list of texts"):
        load_config(None, "train.lr=1")


def test_a_mistake_is_not_hidden_by_what_wins(tmp_path):
    said = mistakes(
        write(tmp_path, "train:\n  lr: fast\nrecipe: ful\n"),
        ["train.lr=1", "recipe=full", "lr"],
    )
    assert [text.partition(":")[0] for text in said] == [
        "my.yaml, line 2",
        "my.yaml, line 3",
        "command line, lr",
    ]


def test_a_mistake_brings_no_false_ones(tmp_path):
    assert (
        len(mistakes(write(tmp_path, "recipe: ful\ntrain:\n  schedule: step\n"))) == 1
    )
    assert (
        len(mistakes(write(tmp_path, "train:\n  schedule: step\n  lr_every: two\n")))
        == 1
    )
    assert (
        len(
            mistakes(
                write(tmp_path, "train:\n  schedule: step\n  lr_every: 2\n  epochs: [")
            )
        )
        == 1
    )
    assert len(mistakes(None, ["train.schedule=step", "train.lr_every=["])) == 1
    assert (
        len(mistakes(write(tmp_path, "train: 5\nmodel:\n  pretrained: false\n"))) == 1
    )


def test_thousands_of_mistakes_are_counted(tmp_path):
    with pytest.raises(ConfigError) as e:
        load_config(
            write(tmp_path, "train:\n" + "".join(f"  z{i}: 1\n" for i in range(1200)))
        )
    assert (
        len(e.value.mistakes) == 1200
        and len(str(e.value).splitlines()) == 51
        and str(e.value).endswith("... and 1,150 more")
    )
    assert pickle.loads(pickle.dumps(e.value)).mistakes == e.value.mistakes


@pytest.mark.parametrize(
    "key", [key for key in FIELDS if len(key.rpartition(".")[2]) > 3]
)
def test_a_misspelt_key_is_known(key):
    section, dot, name = key.rpartition(".")
    for i in range(1, len(name) - 1):
        for wrong in (
            name[:i] + name[i + 1 :],
            name[:i] + name[i + 1] + name[i] + name[i + 2 :],
            name[:i] + "x" + name[i:],
        ):
            if f"{section}{dot}{wrong}" in FIELDS:
                continue
            (said,) = mistakes(None, [f"{section}{dot}{wrong}=1"])
            assert f"did you mean {key}?" in said or any(
                f"did you mean {k}?" in said for k in (*FIELDS, *SECTIONS) if wrong in k
            ), said


# Rules: what breaks each, in the order of the table.
BROKEN = [
    ["data.valid=0.8", "data.test=0.2"],
    ["recipe=full", "train.probe=true", "model.pretrained=false"],
    ["model.pretrained=false", "train.probe=false"],
    ["train.strategy=early probe", "train.probe=false"],
    ["train.schedule=step"],
    ["train.lr_every=2"],
    ["train.validate_from=1"],
    ["train.validate_every=1", "train.validate_from=10"],
    ["train.keep=last", "train.min_accuracy=0.5"],
    ["output.run_name=a/b"],
    ["train.augment=none", "evaluation.mirror=true"],
]


@pytest.mark.parametrize(
    "rule, overrides",
    list(zip(RULES, BROKEN, strict=True)),
    ids=[f"{i} {rule.keys}" for i, rule in enumerate(RULES)],
)
def test_what_contradicts_is_refused_and_its_cure_helps(rule, overrides):
    (said,) = mistakes(None, overrides)
    keys, why = rule.keys, f"{rule.why}: {rule.cure}"
    assert (
        said.endswith(why)
        and all(f"{key} is " in said for key in keys.split())
        and said.startswith("command line, ")
    )
    with pytest.raises(ConfigError, match=re.escape(why)):
        tree = {}
        for text in overrides:
            key, _, value = text.partition("=")
            tree = merge(tree, read_tree(value, tuple(key.split("."))).values)
        Config(**tree)
    cures = re.findall(r"(?:set|or) ([a-z_]+\.[a-z_]+): (\w+)", why)
    for key, value in cures:
        assert all(
            why not in text for text in said_with(overrides, f"{key}={value}")
        ), f"{key}={value} is no cure"


def test_what_is_not_augmented_is_not_judged_by_mirror_images():
    "Unless somebody says otherwise, and then it is refused."
    for config in (
        load_config(None, ["train.augment=none"]),
        Config(train={"augment": "none"}),
    ):
        assert config.evaluation.mirror is False
    for config in (
        load_config(None, ["train.augment=mirror"]),
        Config(train={"augment": "none"}, evaluation={"mirror": False}),
        Config(),
    ):
        assert config.evaluation.mirror == (config.train.augment != "none")


def said_with(overrides, more):
    try:
        load_config(None, [*overrides, more])
    except ConfigError as e:
        return e.mistakes
    return []


def test_recipes_are_what_the_book_says():
    assert [p.stem for p in RECIPE_FILES] == sorted(RECIPES) and RECIPES[0] == "fast"
    fast, classifier, full = (
        load_config(None, [f"recipe={name}"]) for name in ("fast", "classifier", "full")
    )
    assert fast == Config() and fast.model_dump() == KEYS.top().model_dump(), (
        "the default recipe says what the block says"
    )
    t = classifier.train
    assert (t.probe, t.strategy, t.optimizer, t.lr, t.batch_size) == (
        False,
        "head",
        "adam",
        5e-5,
        8,
    ) and classifier.model.pretrained
    assert (
        (t.schedule, t.lr_factor, t.keep, t.min_accuracy)
        == ("step", 0.85, "best", None)
        and t.lr_every
        and t.validate_every
        and t.validate_from
    )
    t = full.train
    assert (
        (t.probe, t.strategy, t.optimizer, t.schedule, t.keep)
        == (False, "everything", "sgd", "step", "best")
        and t.momentum > 0
        and t.lr_every
    )
    assert (
        t.train_accuracy
        and t.validate_every
        and (fast.train.probe, fast.train.strategy) == (True, "advised")
        and fast.train.minutes
    )
    for name in RECIPES:
        assert load_config(
            RECIPE_FILES[[p.stem for p in RECIPE_FILES].index(name)]
        ) == Config(recipe=name)


def test_strategies_are_those_that_were_measured():
    from tutorial_lib.scenarios import STRATEGIES

    assert set(get_args(FIELDS["train.strategy"].annotation)) == {
        "advised",
        *STRATEGIES,
    } - {"scratch"}


@pytest.mark.parametrize(
    "text",
    [*(p.read_text(encoding="utf-8") for p in RECIPE_FILES), annotated()],
    ids=[*(p.name for p in RECIPE_FILES), "default"],
)
def test_shipped_files_hold_no_path_and_nothing_personal(text):
    values = [str(value) for value in flat(load_config_text(text)).values()]
    for value in values:
        assert not personal(value), value
    assert not re.search(r"(?<!\w)[/~\\]\w|[A-Za-z]:\\|@", text)
    assert (
        load_config_text(text).data.folder is None
        and load_config_text(text).output.run_name is None
    )


def load_config_text(text):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return load_config(write(Path(folder), text))


def personal(value):
    me = {getpass.getuser(), platform.node(), str(Path.home()), str(Path.cwd())} - {""}
    return (
        PurePosixPath(value).is_absolute()
        or PureWindowsPath(value).drive
        or value.startswith("~")
        or value in me
    )


@pytest.mark.parametrize(
    "value", ["/data/pets", "C:\\pets", "~/pets", "\\\\server\\pets", getpass.getuser()]
)
def test_the_test_before_can_see(value):
    assert personal(value)


def test_every_key_is_described_and_bounded():
    for key, info in FIELDS.items():
        assert (
            info.description.endswith(".")
            and info.json_schema_extra["unit"]
            and info.default is not ...
        )
        kinds = set(get_args(info.annotation) or (info.annotation,)) - {NoneType}
        limits = {
            name
            for m in info.metadata
            for name in ("ge", "gt", "le", "lt", "max_length")
            if hasattr(m, name)
        }
        if kinds & {int, float}:
            assert limits & {"ge", "gt"} and limits & {"le", "lt"}, (
                f"{key} has no limit"
            )
        if kinds == {str}:
            assert "max_length" in limits
    names = [key.rpartition(".")[2] for key in (*FIELDS, *SECTIONS)]
    assert len(set(names)) == len(names), "a key's last name is in one section"


def limit(info, *names):
    return next(
        (getattr(m, name) for name in names for m in info.metadata if hasattr(m, name)),
        None,
    )


def values(key):
    "All values that a key may hold."
    info = FIELDS[key]
    kinds = get_args(info.annotation) or (info.annotation,)
    if get_origin(info.annotation) is Literal:
        return st.sampled_from(kinds)
    low, high = limit(info, "ge", "gt"), limit(info, "le", "lt")
    lines = st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]),
        min_size=1,
        max_size=30,
    )
    base = {
        bool: st.booleans(),
        str: lines
        | st.sampled_from(
            [
                "null",
                "~",
                "no",
                "12",
                "1e-3",
                "2020-01-01",
                "#a",
                "a: b",
                "- a",
                "&a",
                "!a",
                "%a",
                "'",
                '"',
                " a ",
                "…",
                "=",
            ]
        ),
        int: st.integers(low, high),
        float: st.floats(
            low,
            high,
            exclude_min=limit(info, "gt") is not None,
            exclude_max=limit(info, "lt") is not None,
        ),
    }[kinds[0]]
    return base | st.none() if NoneType in kinds else base


@st.composite
def configs(draw):
    "Any configuration: some keys drawn, contradictions left out."
    tree = {}
    for key in draw(
        st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=12)
    ):
        tree = merge(tree, nested(key.split("."), draw(values(key))))
    try:
        return Config(**tree)
    except ConfigError:
        assume(False)


slow = settings(suppress_health_check=list(HealthCheck), max_examples=60)


@slow
@given(configs())
@example(Config(recipe="full", output={"run_name": "고양이 #1: 'a' \"b\" 🐈"}))
def test_written_and_read_back_is_the_same(config):
    text = annotated(config)
    assert (
        load_config_text(text) == config and annotated(load_config_text(text)) == text
    )
    assert len(text.encode()) < MOST_BYTES and Config(**config.model_dump()) == config
    for line in text.splitlines():
        assert len(line) <= 95 or not line.lstrip().startswith("#")


@slow
@given(st.data())
def test_each_allowed_value_passes_and_others_do_not(data):
    key = data.draw(st.sampled_from(sorted(FIELDS)))
    info, value = FIELDS[key], data.draw(values(key))
    low, high = limit(info, "ge", "gt"), limit(info, "le", "lt")

    def tree(value):
        return nested(key.split("."), value)

    read = KEYS.top.model_validate(tree(value))
    assert value_of(read, key) == value
    wrong = [object(), [value], {"a": value}, b"a"]
    if high is not None:
        wrong += [high * 2 + 1, low - 1, float("inf"), float("nan"), True, str(low)]
    if limit(info, "gt") is not None:
        wrong.append(low)
    if limit(info, "lt") is not None:
        wrong.append(high)
    for value in wrong:
        with pytest.raises(ValidationError):
            KEYS.top.model_validate(tree(value))


def reads_or_refuses(data, overrides=()):
    """Nothing but a configuration or a `ConfigError` comes out.

    Every mistake is one short line that begins with its place.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = write(Path(folder), data)
        try:
            assert isinstance(load_config(path, overrides), Config)
        except ConfigError as e:
            for text in e.mistakes:
                assert (
                    text.startswith((f"{path}, line ", f"{path} ", "command line, "))
                    and ": " in text
                    and len(text) < 1200
                )
            assert e.mistakes == [
                line for text in e.mistakes for line in text.split("\n")
            ]


PIECES = st.sampled_from(
    [
        *FIELDS,
        *SECTIONS,
        "train:",
        "  lr: ",
        "\n",
        "\n  ",
        "\t",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!int ",
        "!",
        "|\n",
        ">\n",
        "'",
        '"',
        "#",
        "%",
        "? ",
        "@",
        "`",
        "---\n",
        "...\n",
        "<<: ",
        "1e-3",
        "null",
        "~",
        "yes",
        "0x",
        "0o8",
        "1_0",
        "2020-01-01",
        ".inf",
        "\\",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
        "%YAML 1.1\n",
    ]
)


@slow
@given(st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join))
@example("!")
@example("%TAG ! tag:\n---\n! a: 1")
@example("%YAML 1.1\n---\ntrain: {lr: 1:30, seed: 0b}")
@example("a: =\n=: 1\n")
def test_any_text_is_read_or_refused(text):
    reads_or_refuses(text.encode("utf-8", "surrogatepass"))


@slow
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    reads_or_refuses(data)


@slow
@given(
    st.sampled_from(
        [
            "recipe: full\ntrain:\n  lr: 1e-3  # one\n  keep: 'best'\n"
            "data: {size: 64, valid: .3}\n"
        ]
    ),
    st.data(),
)
def test_any_damage_is_read_or_refused(text, data):
    for _ in range(data.draw(st.integers(1, 4))):
        i, j = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        text = text[:i] + data.draw(PIECES | st.just("")) + text[min(j, i + 5) :]
    reads_or_refuses(text)


@slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*FIELDS, *SECTIONS, "train.lrr", "."]),
            PIECES | st.text(max_size=5),
        ).map("=".join),
        max_size=3,
    )
)
def test_any_override_is_read_or_refused(overrides):
    reads_or_refuses("recipe: full", overrides)


def test_nothing_is_half_written(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    assert (
        save_config(Config(), path) == path
        and path.read_text(encoding="utf-8") == annotated()
    )
    monkeypatch.setattr(
        os, "replace", lambda *a: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        save_config(Config(recipe="full"), path)
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"] and load_config(
        path
    ) == Config()
    with pytest.raises(
        FileNotFoundError, match="there is no folder .*no: make it first"
    ):
        save_config(Config(), tmp_path / "no" / "a.yaml")
    with pytest.raises(
        IsADirectoryError, match="is a folder: give the name of a file in it"
    ):
        save_config(Config(), tmp_path)


def test_annotated_text_explains_each_key():
    text = annotated(Config(recipe="full", train={"lr": 0.5}))
    joined = re.sub(r"\n *# ", " ", text)
    for key, info in FIELDS.items():
        assert (
            info.description in joined
            and f"{info.json_schema_extra['unit']}: {KEYS.allowed(key)}" in joined
        ), key
    assert (
        joined.count("The recipe full says ") == 1
        and "The recipe full says 0.001." in joined
    )


def test_a_configuration_cannot_change():
    for thing, name in (Config(), "recipe"), (Config().train, "lr"):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(thing, name, 1)


def test_nothing_heavy_is_imported():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, tutorial_lib.config as c; c.annotated(); print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[1])},
    )
    assert not {
        "torch",
        "torchvision",
        "fastai",
        "fastcore",
        "numpy",
        "pandas",
        "matplotlib",
        "PIL",
    } & set(done.stdout.split())
