"How chapter 01 gets a set: through cut connections, wrong archives and a kill."

import gzip
import hashlib
import io
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastai.data
import numpy as np
import pytest
from fastai.data.external import URLs
from fastcore.net import urlopen
from fastdownload.core import checks_module, read_checks
from photos import CIFAR10_CLASSES
from PIL import Image
from torchvision.datasets import OxfordIIITPet
from torchvision.datasets.utils import check_md5

from tutorial_lib.core import downloads
from tutorial_lib.data import CIFAR10, PETS, DataError, Mirror, Source, fetch, is_whole

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")


def targz(files, extra=()):
    "The bytes of a .tar.gz that holds `files` (name -> bytes) and the members `extra`."
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return out.getvalue()


def small_set(n=6, size=40_000, folder="tiny"):
    rng = np.random.default_rng(0)
    return {f"{folder}/images/{i}.jpg": rng.bytes(size) for i in range(n)}


class Host(ThreadingHTTPServer):
    """Serves `files`.

    A path in `cut` loses its connection after that many bytes of each answer, one in
    `slow` gives none."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut, self.slow, self.ranges, self.seen = (
            {},
            {},
            set(),
            True,
            [],
        )
        self.closing = threading.Event()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, host = self.path.strip("/"), self.server
        host.seen.append((name, self.headers["Range"]))
        if name in host.slow:
            host.closing.wait(60)
        elif name not in host.files:
            self.send_error(404)
        else:
            self.send_file(name, host)

    def send_file(self, name, host):
        body = host.files[name]
        start = (
            int(re.findall(r"\d+", self.headers["Range"])[0])
            if host.ranges and self.headers["Range"]
            else 0
        )
        if start >= len(body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][: host.cut.get(name)])

    def log_message(self, *args):
        pass


@pytest.fixture
def host():
    with Host() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.closing.set()
        server.shutdown()


@pytest.fixture
def get(tmp_path):
    "Fetch the small set from mirrors into a folder of this test."

    def get(*mirrors, n=6):
        return fetch(
            Source("tiny", "tiny", {"images": n}, mirrors),
            tmp_path / "data",
            tmp_path / "archive",
        )

    return get


def mirror(host, name, **kwargs):
    return Mirror(host.url(name), arrange=lambda folder: folder / "tiny", **kwargs)


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file()
    }


def expected(files):
    return {name.partition("/")[2]: content for name, content in files.items()}


def left_over(tmp_path):
    return sorted(
        p.name for p in (tmp_path / "data").iterdir() if not p.name.endswith(".lock")
    )


def test_a_set_is_got_once(host, get, tmp_path):
    host.files["a.tgz"] = targz(small_set())
    folder = get(mirror(host, "a.tgz"))
    assert folder == tmp_path / "data" / "tiny" and contents(folder) == expected(
        small_set()
    )
    assert get(mirror(host, "a.tgz")) == folder
    assert len(host.seen) == 1 and left_over(tmp_path) == ["tiny"]


def test_an_archive_that_is_there_is_not_downloaded_again(host, get, tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.tgz").write_bytes(targz(small_set()))
    assert is_whole(get(mirror(host, "a.tgz")), {"images": 6}) and not host.seen


def test_the_second_mirror_serves_when_the_first_has_nothing(host, get):
    host.files["b.tgz"] = targz(small_set())
    assert contents(get(mirror(host, "a.tgz"), mirror(host, "b.tgz"))) == expected(
        small_set()
    )
    assert [name for name, _ in host.seen] == ["a.tgz", "b.tgz"]


def test_a_wrong_checksum_sends_on_to_the_next_mirror(host, get, tmp_path):
    host.files = {"a.tgz": targz(small_set(size=10)), "b.tgz": targz(small_set())}
    check = partial(check_md5, md5=hashlib.md5(host.files["b.tgz"]).hexdigest())
    assert contents(
        get(mirror(host, "a.tgz", check=check), mirror(host, "b.tgz", check=check))
    ) == expected(small_set())
    assert not (tmp_path / "archive" / "a.tgz").exists(), (
        "a wrong archive must not be found again"
    )


def test_a_damaged_archive_on_disk_is_downloaded_again(host, get, tmp_path):
    host.files["a.tgz"] = targz(small_set())
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.tgz").write_bytes(host.files["a.tgz"][:1000])

    def check(path):
        return path.stat().st_size == len(host.files["a.tgz"])

    assert contents(get(mirror(host, "a.tgz", check=check))) == expected(small_set())


def test_a_cut_download_goes_on_where_it_stopped(host, get):
    body = host.files["a.tgz"] = targz(small_set())
    host.cut["a.tgz"] = step = len(body) // 3 + 1
    assert contents(get(mirror(host, "a.tgz"))) == expected(small_set())
    assert host.seen == [
        ("a.tgz", None),
        ("a.tgz", f"bytes={step}-"),
        ("a.tgz", f"bytes={2 * step}-"),
    ]


def test_a_part_of_an_earlier_day_is_gone_on_from(host, get, tmp_path):
    body = host.files["a.tgz"] = targz(small_set())
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.tgz.part").write_bytes(body[:5000])
    assert contents(get(mirror(host, "a.tgz"))) == expected(small_set())
    assert host.seen == [("a.tgz", "bytes=5000-")]


def test_a_part_that_was_whole_already_is_redone(host, get, tmp_path):
    body = host.files["a.tgz"] = targz(small_set())
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.tgz.part").write_bytes(body)
    assert contents(get(mirror(host, "a.tgz"))) == expected(small_set())


def test_a_host_that_cannot_go_on_is_asked_for_everything(host, get, tmp_path):
    body = host.files["a.tgz"] = targz(small_set())
    host.ranges = False
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.tgz.part").write_bytes(b"x" * 5000)
    assert contents(get(mirror(host, "a.tgz"))) == expected(small_set())
    host.cut["b.tgz"], host.files["b.tgz"] = len(body) // 2, body
    with pytest.raises(
        DataError,
        match=r"b\.tgz: the connection was cut at "
        f"{len(body) // 2:,} of {len(body):,} bytes",
    ):
        get(mirror(host, "b.tgz"), n=7)


def test_a_host_that_says_nothing_is_given_up(host, get, monkeypatch):
    def impatient(url, timeout, **kwargs):
        assert 10 <= timeout <= 60
        return urlopen(url, timeout=0.2, **kwargs)

    monkeypatch.setattr(downloads, "urlopen", impatient)
    host.slow.add("a.tgz")
    with pytest.raises(DataError, match="a.tgz: .*timed out"):
        get(mirror(host, "a.tgz"))


def test_no_host_gives_it(host, get, tmp_path):
    with Host() as gone:
        nobody = gone.url("b.tgz")
    with pytest.raises(DataError) as e:
        get(mirror(host, "a.tgz"), Mirror(nobody))
    first, a, b, last = str(e.value).splitlines()
    assert first == (
        f"the tiny set is not whole in {tmp_path / 'data' / 'tiny'}, "
        "and none of its hosts gave it:"
    )
    assert a == f"  {host.url('a.tgz')}: HTTP Error 404: Not Found"
    assert b.startswith(f"  {nobody}: <urlopen error") and "refused" in b
    assert last == (
        "Check the network and run this again, "
        "or set TUTORIAL_DATA=sample to use drawn pictures in its place."
    )
    assert left_over(tmp_path) == [] and isinstance(e.value, OSError)


def link(name, to, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    "body, why",
    [
        (targz(small_set())[:-4] + b"\0\0\0\0", "CRC check failed|Incorrect length"),
        (targz(small_set())[:90_000], "end-of-stream|unexpected end"),
        (gzip.compress(b"hello"), "truncated|empty|invalid"),
        (b"<html>log in to the hotel's network</html>", "Not a gzipped file"),
        (targz(small_set(n=5)), "does not hold what it should"),
        (
            targz(small_set(n=5) | {"tiny/images/5.jpg": b""}),
            "does not hold what it should",
        ),
        (targz(small_set(folder="other")), "does not hold what it should"),
        (targz(small_set() | {"../evil.jpg": b"x"}), "outside the destination"),
        (
            targz(small_set(), [link("tiny/evil", "../../../evil")]),
            "outside the destination",
        ),
        (targz(small_set(), [link("tiny/evil", "/etc/passwd")]), "absolute path"),
        (targz(small_set(), [link("tiny/evil", "", tarfile.CHRTYPE)]), "special file"),
    ],
    ids=[
        "crc",
        "cut",
        "no tar",
        "web page",
        "one too few",
        "one empty",
        "other folder",
        "outside",
        "link",
        "absolute link",
        "device",
    ],
)
def test_a_bad_archive_leaves_nothing(host, get, tmp_path, body, why):
    host.files["a.tgz"] = body
    with pytest.raises(DataError, match=why):
        get(mirror(host, "a.tgz"))
    assert left_over(tmp_path) == [] and not list((tmp_path / "archive").iterdir())
    assert not list(tmp_path.rglob("evil*"))


def test_a_half_unpacked_set_is_replaced_and_kept(host, get, tmp_path):
    host.files["a.tgz"] = targz(small_set())
    half = tmp_path / "data" / "tiny"
    (half / "images").mkdir(parents=True)
    (half / "images" / "0.jpg").write_bytes(b"half")
    (half / "models").mkdir()
    (half / "models" / "mine.pth").write_bytes(b"weights")
    assert contents(get(mirror(host, "a.tgz"))) == expected(small_set())
    (aside,) = tmp_path.glob("data/tiny.incomplete-*")
    assert contents(aside) == {"images/0.jpg": b"half", "models/mine.pth": b"weights"}


def test_a_half_unpacked_set_stays_when_no_host_answers(host, get, tmp_path):
    (tmp_path / "data" / "tiny" / "images").mkdir(parents=True)
    with pytest.raises(DataError):
        get(mirror(host, "a.tgz"))
    assert left_over(tmp_path) == ["tiny"]


def test_two_at_once_download_once(host, get, tmp_path):
    host.files["a.tgz"] = targz(small_set())
    threads = [
        threading.Thread(target=get, args=[mirror(host, "a.tgz")]) for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(host.seen) == 1 and left_over(tmp_path) == ["tiny"]


def count(folder):
    return len(list(folder.iterdir()))


def killed(get, *mirrors, n):
    "Start to fetch in a process of its own, which is to be killed."
    child = multiprocessing.get_context("fork").Process(
        target=get, args=mirrors, kwargs={"n": n}
    )
    child.start()
    return child


@posix
def test_killed_while_unpacking(host, get, tmp_path):
    n, files = 3000, {f"tiny/images/{i}.jpg": b"x" for i in range(3000)}
    host.files["a.tgz"] = targz(files)
    child, unpacking = (
        killed(get, mirror(host, "a.tgz"), n=n),
        tmp_path / "data" / ".tiny.unpacking" / "tiny" / "images",
    )
    while child.is_alive() and not (unpacking.exists() and count(unpacking) > 50):
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL and 50 < count(unpacking) < n
    assert not (tmp_path / "data" / "tiny").exists()
    assert contents(get(mirror(host, "a.tgz"), n=n)) == expected(files)
    assert left_over(tmp_path) == ["tiny"] and len(host.seen) == 1


@posix
def test_killed_before_the_rename(host, get, tmp_path):
    host.files["a.tgz"] = targz(small_set())
    child = killed(
        get,
        Mirror(
            host.url("a.tgz"),
            arrange=lambda folder: os.kill(os.getpid(), signal.SIGKILL),
        ),
        n=6,
    )
    child.join()
    assert child.exitcode == -signal.SIGKILL and left_over(tmp_path) == [
        ".tiny.unpacking"
    ]
    assert contents(get(mirror(host, "a.tgz"))) == expected(small_set()) and left_over(
        tmp_path
    ) == ["tiny"]


def test_whole_means_every_picture(tmp_path):
    counts = {"train/cat": 2, "test/cat": 1}
    assert not is_whole(tmp_path / "nowhere", counts)
    for name in ("train/cat/1.jpg", "train/cat/2.png", "test/cat/3.png"):
        assert not is_whole(tmp_path, counts)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "labels.txt").write_text("cat\n")
    assert is_whole(tmp_path, counts)
    (tmp_path / "train/cat/4.png").write_bytes(b"x")
    assert not is_whole(tmp_path, counts)
    (tmp_path / "train/cat/4.png").unlink()
    (tmp_path / "test/cat/3.png").write_bytes(b"")
    assert not is_whole(tmp_path, counts)


def test_both_hosts_of_cifar_give_the_same_layout(host, tmp_path):
    rng = np.random.default_rng(0)
    records = {
        part: np.concatenate(
            [
                np.tile(np.arange(10, dtype=np.uint8), n)[:, None],
                rng.integers(0, 256, (10 * n, 3072), dtype=np.uint8),
            ],
            1,
        )
        for part, n in (("train", 2), ("test", 1))
    }
    raw = {
        f"cifar-10-batches-bin/{name}": content
        for name, content in {
            "batches.meta.txt": ("\n".join(CIFAR10_CLASSES) + "\n\n").encode(),
            "readme.html": b"<html>",
            "test_batch.bin": records["test"].tobytes(),
            "data_batch_1.bin": records["train"][:9].tobytes(),
            "data_batch_2.bin": records["train"][9:].tobytes(),
        }.items()
    }
    host.files["cifar-10-binary.tar.gz"] = targz(raw)
    counts = {
        f"{part}/{c}": n
        for part, n in (("train", 2), ("test", 1))
        for c in CIFAR10_CLASSES
    }
    toronto = CIFAR10.mirrors[1]._replace(
        url=host.url("cifar-10-binary.tar.gz"), check=os.path.exists
    )
    folder = fetch(
        Source("cifar10", "cifar10", counts, (toronto,)),
        tmp_path / "data",
        tmp_path / "archive",
    )
    assert list(counts) == list(CIFAR10.counts)
    assert (folder / "labels.txt").read_text().split() == CIFAR10_CLASSES and not (
        folder / "cifar-10-batches-bin"
    ).exists()
    for i, record in enumerate(records["train"]):
        name = CIFAR10_CLASSES[record[0]]
        x = np.asarray(Image.open(folder / "train" / name / f"{i}_{name}.png"))
        assert (x == record[1:].reshape(3, 32, 32).transpose(1, 2, 0)).all()
    assert left_over(tmp_path) == ["cifar10"]


def test_oxfords_archive_gives_fastais_layout(host, tmp_path):
    host.files["images.tar.gz"] = targz(
        {
            "images/Abyssinian_1.jpg": b"x",
            "images/pug_2.jpg": b"x",
            "images/pug_2.mat": b"x",
        }
    )
    oxford = PETS.mirrors[1]._replace(
        url=host.url("images.tar.gz"), check=os.path.exists
    )
    folder = fetch(
        Source("pets", PETS.folder, {"images": 2}, (oxford,)),
        tmp_path / "data",
        tmp_path / "archive",
    )
    assert folder.name == "oxford-iiit-pet" and sorted(
        p.name for p in folder.glob("images/*.jpg")
    ) == ["Abyssinian_1.jpg", "pug_2.jpg"]


def test_checksums_are_the_published_ones(tmp_path):
    table = read_checks(checks_module(fastai.data))
    for url in URLs.PETS, URLs.CIFAR:
        assert url in table, "without an entry fastai's check passes any file"
    assert PETS.mirrors[0].url == URLs.PETS
    assert CIFAR10.mirrors[0].url == URLs.CIFAR
    oxford = PETS.mirrors[1]
    md5 = oxford.check.keywords["md5"]
    assert (oxford.url, md5) == OxfordIIITPet._RESOURCES[0]
    file = tmp_path / "a"
    file.write_bytes(b"not the archive")
    assert not any(m.check(file) for m in PETS.mirrors + CIFAR10.mirrors)
    its_own = hashlib.md5(file.read_bytes()).hexdigest()
    for mirror in PETS.mirrors[1], CIFAR10.mirrors[1]:
        assert mirror.check.func(file, md5=its_own)


PROGRAM = """
import sys
from fastai.data.external import fastai_path
folder = fastai_path("data")/"oxford-iiit-pet"/"images"
folder.mkdir(parents=True)
for i in range(7390): (folder/f"Cat_{i}.jpg").write_bytes(b"x")
from tutorial_lib.data import DataError, load, pets
assert pets() == load("pets") == folder
for name in ("cifar10", "pets"):
    try: load(name)
    except DataError as e: print(e, file=sys.stderr)
    (folder/"Cat_0.jpg").unlink(missing_ok=True)
"""


def test_the_real_loaders_without_a_network(tmp_path):
    with Host() as gone:
        proxy = gone.url("")
    env = {
        k: v
        for k, v in os.environ.items()
        if k not in ("TUTORIAL_DATA", "no_proxy", "NO_PROXY")
    }
    env |= {"FASTAI_HOME": str(tmp_path), "https_proxy": proxy, "http_proxy": proxy}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for source in (CIFAR10, PETS):
        assert f"the {source.name} set is not whole" in done.stderr
        for m in source.mirrors:
            assert f"  {m.url}: <urlopen error" in done.stderr
    assert "TUTORIAL_DATA=sample" in done.stderr
    assert count(tmp_path / "data" / "oxford-iiit-pet" / "images") == 7389
