"""Images: half a file is never a whole one, what is tested never chooses, and rows are left alone when resuming."""

import gzip
import hashlib
import io
import shutil
import socket
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.images import loaders, run
from benchmarks.images.files import DataError, Remote, fetch
from benchmarks.images.formats import members, read_cifar, read_idx
from benchmarks.images.heads import FEATURES, HEADS, HQKAN_HEADS, MLP_HEAD, body, network
from benchmarks.images.loaders import Labelled, idx
from benchmarks.images.report import goal_table, last_settings, report, tables
from benchmarks.images.sets import SETS
from benchmarks.images.task import stratified, task
from benchmarks.images.train import Budget, accuracy, measure
from benchmarks.provenance import provenance
from benchmarks.report import Results
from qkan import parameter_count
from rows import read_rows, write_rows

RANDOM = np.random.default_rng(0)
CONTENT = RANDOM.bytes(100_000)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


# Downloads.


@dataclass(frozen=True)
class Server:
    url: str
    files: dict[str, bytes]
    asked: list[str]


@pytest.fixture
def server(monkeypatch):
    """An address that serves what is put into `files`; a file named cut breaks off in the middle."""
    files, asked = {"whole": CONTENT, "cut": CONTENT}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            asked.append(name)
            if name not in files:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(files[name])))
            self.end_headers()
            self.wfile.write(files[name][: len(CONTENT) // 2] if name == "cut" else files[name])
            return None

        def log_message(self, format, *arguments):
            pass

    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Server(f"http://127.0.0.1:{httpd.server_port}", files, asked)
        httpd.shutdown()
        thread.join()


def test_a_download_is_checked_and_asked_for_once(server, tmp_path):
    remote = Remote(f"{server.url}/whole", md5(CONTENT))
    for _ in range(2):
        assert fetch(remote, tmp_path / "new").read_bytes() == CONTENT
    assert server.asked == ["whole"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["whole"]


def test_a_file_that_was_there_and_is_another_one_is_fetched_anew(server, tmp_path):
    (tmp_path / "whole").write_bytes(CONTENT[:-1])
    assert fetch(Remote(f"{server.url}/whole", md5(CONTENT)), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "message"), [("cut", "what arrived has .* and 50,000 bytes"), ("missing", "could not be downloaded .*404")]
)
def test_half_a_file_is_never_taken_for_a_whole_one(server, tmp_path, name, message):
    remote = Remote(f"{server.url}/{name}", md5(CONTENT))
    with pytest.raises(DataError, match=f"{remote.url} .*{message}.*--data-dir"):
        fetch(remote, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_file_than_the_published_one_is_refused_and_leaves_the_old_one(server, tmp_path):
    server.files["whole"] = CONTENT[::-1]
    (tmp_path / "whole").write_bytes(b"old")
    with pytest.raises(DataError, match=f"must have the MD5 checksum {md5(CONTENT)}, but what arrived has"):
        fetch(Remote(f"{server.url}/whole", md5(CONTENT)), tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("whole", b"old")]


def test_ctrl_c_leaves_nothing(server, tmp_path, monkeypatch):
    def interrupted(source, target):
        target.write(source.read(10))
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(Remote(f"{server.url}/whole", md5(CONTENT)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nobody_at_home_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        remote = Remote(f"http://127.0.0.1:{taken.getsockname()[1]}/whole", md5(CONTENT))
        with pytest.raises(DataError, match="could not be downloaded"):
            fetch(remote, tmp_path)


# Formats.


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def bytes_of(*shape: int, most: int = 255) -> np.ndarray:
    return RANDOM.integers(0, most + 1, shape).astype(np.uint8)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_files_are_read_as_they_were_written(tmp_path, pack):
    for array in (bytes_of(5, 4, 3), bytes_of(7), bytes_of(0, 28, 28)):
        (tmp_path / "file").write_bytes(pack(idx_bytes(array)))
        np.testing.assert_array_equal(read_idx(tmp_path / "file", array.ndim), array)


IMAGES = idx_bytes(bytes_of(5, 4, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must begin with 00 00 08 03, .* but begins with nothing"),
        (b"<html>", "but begins with 3c 68 74 6d"),
        (idx_bytes(bytes_of(5)), "but begins with 00 00 08 01"),
        (b"\0\0\x0d\x03" + IMAGES[4:], "but begins with 00 00 0d 03"),
        (IMAGES[:-1], "must have 76 bytes for shape \\(5, 4, 3\\), but has 75"),
        (IMAGES + b"\0", "but has 77"),
        (IMAGES[:9], "but has 9"),
        (gzip.compress(IMAGES)[:-9], "must be a whole gzip file"),
        (gzip.compress(IMAGES)[:12] + b"\xff" + gzip.compress(IMAGES)[13:], "must be a whole gzip file"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(caught.value).startswith(f"{path} must ")


def cifar_bytes(labels: np.ndarray, images: np.ndarray) -> bytes:
    return np.concatenate([labels.reshape(len(images), -1), images.reshape(len(images), -1)], axis=1).tobytes()


def test_the_planes_of_cifar_are_red_green_and_blue():
    image = np.stack([np.full((32, 32), colour) for colour in (10, 20, 30)]).astype(np.uint8)
    image[1, 0, 1] = 99  # green, first row, second column
    x, y = read_cifar(bytes([7]) + image.tobytes(), "file", labels=1, classes=10)
    np.testing.assert_array_equal(x, image[None])
    assert y.tolist() == [7]
    assert x.reshape(-1)[1024 + 1] == 99


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "records of 3,074 bytes, but has 0"),
        (bytes(3074 + 5), "but has 3,079"),
        (bytes([0, 100]) + bytes(3072), "labels below 100, but has 100"),
    ],
)
def test_damaged_cifar_files_are_named(content, message):
    with pytest.raises(DataError, match=f"^the file must .*{message}"):
        read_cifar(content, "the file", labels=2, classes=100)


# Sets.


def write_mnist(
    folder: Path, pack: Callable[[bytes], bytes] = bytes, suffix: str = "", labels: int = 12
) -> dict[str, np.ndarray]:
    arrays = {
        "train-images-idx3-ubyte": bytes_of(12, 28, 28),
        "train-labels-idx1-ubyte": bytes_of(labels, most=9),
        "t10k-images-idx3-ubyte": bytes_of(4, 28, 28),
        "t10k-labels-idx1-ubyte": bytes_of(4, most=9),
    }
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        (folder / f"{name}{suffix}").write_bytes(pack(idx_bytes(array)))
    return arrays


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz")], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_is_read_from_a_folder(tmp_path, name, pack, suffix):
    arrays = write_mnist(tmp_path, pack, suffix)
    train, test = SETS[name].load(tmp_path)
    assert test is not None
    np.testing.assert_array_equal(train.x[:, 0], arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(test.y, arrays["t10k-labels-idx1-ubyte"])
    assert (train.x.shape, test.x.shape, train.y.dtype) == ((12, 1, 28, 28), (4, 1, 28, 28), np.int64)


def test_mnist_is_fetched_where_it_is_published(server, tmp_path, monkeypatch):
    arrays = write_mnist(tmp_path / "published", gzip.compress, ".gz")
    server.files.update({path.name: path.read_bytes() for path in (tmp_path / "published").iterdir()})
    monkeypatch.setattr(loaders, "DOWNLOADS", tmp_path / "downloads")
    checksums = {name: md5(content) for name, content in server.files.items() if name.endswith(".gz")}
    train, _ = idx("mine", server.url, checksums)(None)
    np.testing.assert_array_equal(train.x[:, 0], arrays["train-images-idx3-ubyte"])
    assert {path.name for path in (tmp_path / "downloads" / "mine").iterdir()} == checksums.keys()


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte.gz and no train-images-idx3-ubyte in .*data-dir"):
        SETS["mnist"].load(tmp_path)
    with pytest.raises(DataError, match=r"There is no cifar-10-binary.tar.gz in"):
        SETS["cifar-10"].load(tmp_path)
    write_mnist(tmp_path, labels=11)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte has 11 labels for 12 images of .*train-images"):
        SETS["mnist"].load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(12, 10, np.uint8)))
    with pytest.raises(DataError, match="labels below 10, but has 10"):
        SETS["mnist"].load(tmp_path)


CIFARS = {
    "cifar-10": ("cifar-10-batches-bin", [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"], 1, 9),
    "cifar-100": ("cifar-100-binary", ["train.bin", "test.bin"], 2, 99),
}


def write_cifar(folder: Path, name: str) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], Path]:
    inside, names, labels, most = CIFARS[name]
    (folder / inside).mkdir()
    parts = {}
    for file in names:
        parts[file] = bytes_of(3, labels, most=most), bytes_of(3, 3, 32, 32)
        (folder / inside / file).write_bytes(cifar_bytes(*parts[file]))
    return parts, folder / inside


@pytest.mark.parametrize("name", CIFARS)
@pytest.mark.parametrize("where", ["archive", "folder", "folder itself"])
def test_cifar_is_read_from_its_archive_and_unpacked(tmp_path, name, where):
    parts, inside = write_cifar(tmp_path, name)
    if where == "archive":
        with tarfile.open(tmp_path / f"{name}-binary.tar.gz", "w:gz") as archive:
            archive.add(inside, inside.name)
        shutil.rmtree(inside)
    train, test = SETS[name].load(inside if where == "folder itself" else tmp_path)
    assert test is not None
    *training, last = parts.values()
    np.testing.assert_array_equal(train.x, np.concatenate([images for _, images in training]))
    np.testing.assert_array_equal(train.y, np.concatenate([labels[:, -1] for labels, _ in training]))
    np.testing.assert_array_equal(test.y, last[0][:, -1])
    assert train.y.dtype == np.int64


@pytest.mark.parametrize("damage", ["cut", "another", "incomplete"])
def test_damaged_archives_are_named(tmp_path, damage):
    _, inside = write_cifar(tmp_path, "cifar-100")
    path, packed = tmp_path / "cifar-100-binary.tar.gz", io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(inside / "train.bin", f"{inside.name}/train.bin")
        if damage != "incomplete":
            archive.add(inside / "test.bin", f"{inside.name}/test.bin")
    shutil.rmtree(inside)
    path.write_bytes({"cut": packed.getvalue()[:-3000], "another": b"<html>"}.get(damage, packed.getvalue()))
    with pytest.raises(DataError, match=r"must be a whole archive with cifar-100-binary/train.bin") as caught:
        SETS["cifar-100"].load(tmp_path)
    assert str(caught.value).startswith(str(path))


def test_a_damaged_member_is_named_with_its_archive_or_its_path(tmp_path):
    _, inside = write_cifar(tmp_path, "cifar-100")
    (inside / "test.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=f"^{inside}/test.bin must be records"):
        SETS["cifar-100"].load(tmp_path)
    with tarfile.open(tmp_path / "cifar-100-binary.tar.gz", "w:gz") as archive:
        archive.add(inside, inside.name)
    shutil.rmtree(inside)
    with pytest.raises(DataError, match=r"cifar-100-binary.tar.gz: cifar-100-binary/test.bin must be records"):
        SETS["cifar-100"].load(tmp_path)


def write_digits(folder: Path, each: int = 20) -> np.ndarray:
    """Ten classes that a bright pixel tells apart."""
    labels = np.tile(np.arange(10), each)
    table = np.concatenate([bytes_of(10 * each, 64, most=3), labels[:, None]], axis=1)
    table[np.arange(10 * each), 3 * labels + 20] = 16
    folder.mkdir(exist_ok=True)
    np.savetxt(folder / "digits.csv.gz", table, fmt="%d", delimiter=",")
    return table


def test_digits_are_read_from_the_file_that_scikit_learn_ships(tmp_path):
    table = write_digits(tmp_path)
    known, test = SETS["digits"].load(tmp_path)
    assert test is None
    np.testing.assert_array_equal(known.x.reshape(-1, 64), table[:, :-1])
    np.testing.assert_array_equal(known.y, table[:, -1])
    assert known.x.shape[1:] == (1, 8, 8)


def test_digits_are_those_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    known, _ = SETS["digits"].load(None)
    np.testing.assert_array_equal(known.x[:, 0], datasets.load_digits().images)
    np.testing.assert_array_equal(known.y, datasets.load_digits().target)


def test_without_scikit_learn_and_file_the_digits_say_what_to_do(tmp_path, monkeypatch):
    def missing(name):
        if name == "sklearn.datasets":
            raise ModuleNotFoundError(name)
        return import_module(name)

    monkeypatch.setattr(loaders, "import_module", missing)
    with pytest.raises(DataError, match=r"pip install scikit-learn, or say by --data-dir"):
        SETS["digits"].load(tmp_path)


ZEROS = ["0"] * 64


@pytest.mark.parametrize(
    "text",
    [
        "1,2,3\n",
        "a,b\n",
        ",".join(["17"] * 65),
        ",".join(["-1"] * 65),
        "",
        ",".join([*ZEROS, "3.7"]),
        ",".join(["1.5", *ZEROS]),
        ",".join([*ZEROS, "10"]),
        ",".join([*ZEROS, "nan"]),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_damaged_digits_are_named(tmp_path, text):
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as file:
        file.write(text)
    with pytest.raises(DataError, match=r"digits.csv.gz must"):
        SETS["digits"].load(tmp_path)


def test_a_flipped_byte_of_the_digits_is_one_clear_error(tmp_path):
    write_digits(tmp_path)
    whole = (tmp_path / "digits.csv.gz").read_bytes()
    for position in (*range(60, 100), len(whole) // 2, len(whole) - 6):  # before are the letters of a name
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "digits.csv.gz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"digits.csv.gz must be a whole gzip file"):
            SETS["digits"].load(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files_are_named(tmp_path, kind):
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("inside/test.bin")
        member.type, member.linkname = kind, "test.bin" if kind == tarfile.SYMTYPE else "inside/test.bin"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"archive.tar.gz must be a whole archive .*inside/test.bin is no file"):
        members(tmp_path / "archive.tar.gz", ["inside/test.bin"])


def test_sets_without_images_are_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(bytes_of(0, 28, 28)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(bytes_of(0)))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte must have images, but has none"):
        SETS["mnist"].load(tmp_path)


# Splits.


def pool(each: int = 20, seed: int = 0) -> Labelled:
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(10), each)
    return Labelled(random.integers(0, 256, (len(y), 2, 8, 8)).astype(np.uint8), y)


def test_parts_are_disjoint_complete_and_have_their_fraction_of_every_class():
    labels = np.repeat(np.arange(5), [50, 40, 30, 21, 7])
    parts = stratified(labels, (0.6, 0.2, 0.2), seed=0)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    for part, fraction in zip(parts, (0.6, 0.2, 0.2), strict=True):
        np.testing.assert_allclose(np.bincount(labels[part]), fraction * np.bincount(labels), atol=1)
    again, other = stratified(labels, (0.6, 0.2, 0.2), seed=0), stratified(labels, (0.6, 0.2, 0.2), seed=1)
    assert all((first == second).all() for first, second in zip(parts, again, strict=True))
    assert not (parts[0][:20] == other[0][:20]).all()


def test_the_scale_is_that_of_the_training_images():
    known, official = pool(), pool(5, seed=1)
    data = task(known, official, seed=0)
    torch.testing.assert_close(data.train[0].mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(data.train[0].std((0, 2, 3)), torch.ones(2), rtol=0, atol=1e-5)
    brighter = task(known, Labelled(official.x // 2, official.y), seed=0)
    assert torch.equal(brighter.train[0], data.train[0])
    assert not torch.equal(brighter.test[0], data.test[0])
    assert [len(y) for _, y in (data.train, data.validation, data.test)] == [170, 30, 50]


def test_an_official_test_part_is_the_same_for_all_seeds():
    known, official = pool(), pool(5, seed=1)
    labels = [task(known, official, seed).test[1] for seed in range(2)]
    assert torch.equal(*labels)
    assert not torch.equal(*(task(known, None, seed).test[0] for seed in range(2)))


# Networks.


@pytest.mark.parametrize("size", [8, 28, 32])
def test_a_head_sees_as_many_features_whatever_the_size(size):
    x = torch.randn(40, 1, size, size)
    y = body(1)(x)
    assert y.shape == (40, FEATURES)
    assert y.mean(0).abs().max() < 1e-5


def test_heads_have_matched_parameters():
    counts = [sum(parameter_count(head.build(FEATURES, 10)).values()) for head in HEADS]
    assert counts[0] == 128 * 64 + 64 + 64 * 10 + 10
    assert all(abs(count / counts[0] - 1) < 0.01 for count in counts[:4])
    assert all(0.28 < count / counts[0] < 1 / 3 for count in counts[4:9])
    assert (HEADS[0], *HEADS[6:9]) == (MLP_HEAD, *HQKAN_HEADS)


def test_the_body_starts_the_same_under_every_head():
    first, *others = (network(head, 1, 10, seed=3)[0].state_dict() for head in HEADS)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)
    assert not torch.equal(first["0.weight"], network(MLP_HEAD, 1, 10, seed=4)[0].state_dict()["0.weight"])


def test_accuracy_counts_the_highest_scores():
    scores = torch.tensor([[2.0, 1.0], [0.0, 1.0], [5.0, 4.0], [1.0, 3.0]])
    assert accuracy(nn.Identity(), (scores, torch.tensor([0, 1, 1, 1])), batch=3) == 0.75


def test_the_validation_part_chooses_and_the_test_part_does_not():
    data = task(pool(), None, seed=0)
    upside_down = type(data)(data.train, data.validation, (data.test[0], 9 - data.test[1]))
    budget, ticks = Budget(epochs=1, rates=(1e-3, 1e-2)), []
    rows, others = (measure(MLP_HEAD, each, 10, 0, budget, lambda: ticks.append(1)) for each in (data, upside_down))
    *tuning, final = rows
    assert [row["lr"] for row in tuning] == [1e-3, 1e-2]
    assert final["lr"] == min(tuning, key=lambda row: row["validation_loss"])["lr"]
    assert [row["stage"] for row in rows] == ["tuning", "tuning", "final"]
    assert not any("test_accuracy" in row for row in tuning)
    assert len(ticks) == 4
    for row, other in zip(rows, others, strict=True):
        changing = {"seconds", "test_accuracy"}
        assert all(row[name] == other[name] for name in row.keys() - changing)


# The command.


def command(out: Path, *options: str) -> None:
    arguments = ["images", "--quick", "--seeds", "2", "--out", str(out), *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def rows_of(out: Path) -> list[dict]:
    return read_rows(out / "results.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_digits(folder)
    write_mnist(folder)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory, folder):
    out = tmp_path_factory.mktemp("images") / "new"
    command(out, "--data-dir", str(folder))
    return out


def test_every_head_has_every_seed_and_the_same_images(out):
    rows = rows_of(out)
    final = [(row["head"], row["seed"]) for row in rows if row["stage"] == "final"]
    assert final == [(head.name, seed) for head in HEADS for seed in range(2)]
    assert {tuple(row["images"]) for row in rows} == {(60, 40, 40)}
    assert all(row.keys() >= {"dataset", "seed", "engine", "commit", "machine", "head_parameters"} for row in rows)
    assert {row["engine"] for row in rows} > {"torch"}


def test_tables_are_made_of_the_rows(out):
    assert {path.name for path in out.iterdir()} == {"report.md", "results.jsonl"}
    results = Results.load(out / "results.jsonl")
    accuracy_of, goals = tables(results, last_settings(results))
    assert [line[0] for line in accuracy_of.rows] == [head.name for head in HEADS]
    text = (out / "report.md").read_text()
    assert accuracy_of.markdown() in text
    assert goals.markdown() in text
    assert "digits 60, 40, 40" in text


HQKAN_HEAD, OTHER_HEAD, _ = HQKAN_HEADS

SETTING = {"images": [60, 40, 40], "budget": {"epochs": 1, "rates": [3e-3, 1e-2]}}


def made_up(path: Path, accuracies: dict[str, list[float]], **setting) -> Results:
    results = Results(path / "results.jsonl")
    for head, tests in accuracies.items():
        for seed, test in enumerate(tests):
            row = {"dataset": "digits", "head": head, "stage": "final", "seed": seed, "test_accuracy": test, "lr": 1e-2}
            row |= {"head_parameters": {HQKAN_HEAD.name: 300}.get(head, 1000), "parameters": 2000, "seconds": 1.0}
            results.add(**{"validation_accuracy": 0.5} | row | SETTING | setting)
    return results


def test_goals_are_differences_of_medians_beside_those_of_single_seeds(tmp_path):
    results = made_up(tmp_path, {HQKAN_HEAD.name: [0.97, 0.98, 0.2], MLP_HEAD.name: [0.98, 0.974, 0.975]})
    lines = goal_table(results, last_settings(results)).rows
    assert [line[2:] for line in lines] == [["0.50 [-0.60..77.50]", "yes"], ["0.300", "yes"]]


def test_validation_chooses_the_head_that_is_held_against_the_goals(tmp_path):
    """However it does in the test."""
    results = made_up(tmp_path, {HQKAN_HEAD.name: [0.9], MLP_HEAD.name: [0.8]})
    results.rows += made_up(tmp_path / "other", {OTHER_HEAD.name: [0.7]}, validation_accuracy=0.6).rows
    goals = goal_table(results, last_settings(results))
    assert goals.title == f"Goals for {OTHER_HEAD.name}, on digits"
    assert goals.rows[0][2].startswith("10.00")


def test_rows_of_another_setting_are_in_no_mean(tmp_path):
    accuracies = {HQKAN_HEAD.name: [0.9, 0.9], MLP_HEAD.name: [0.8, 0.8]}
    results = made_up(tmp_path, accuracies)
    told = tables(results, {"digits": SETTING})
    results.rows += made_up(tmp_path / "other", {MLP_HEAD.name: [0.1] * 5}, images=[9, 9, 9]).rows
    assert tables(results, {"digits": SETTING}) == told
    assert tables(results, last_settings(results))[0].rows[0][4] == "10.00"
    assert tables(results, last_settings(results))[1].rows == [], "no goal without both heads"


def test_a_report_says_how_rates_were_chosen_and_where_its_rows_come_from(tmp_path):
    results = made_up(tmp_path, {HQKAN_HEAD.name: [0.9, 0.9], MLP_HEAD.name: [0.8]})
    results.rows[0]["lr"] = 5e-3
    results.rows[1]["commit"] = "another"
    text = report(results, {"digits": SETTING}).replace("\n", " ")
    assert "2 of 3 chosen learning rates are the smallest or the largest one" in text
    assert f"Commits {provenance()['commit']}, another; " in text
    assert "digits 60, 40, 40, at most 1 epochs at 0.003, 0.01." in text
    assert "matched for 10 classes only" in text


def test_resuming_leaves_rows_alone_and_does_what_is_missing(out, folder, tmp_path, monkeypatch):
    shutil.copytree(out, tmp_path / "again")
    before = rows_of(out)
    kept = before[:-1]
    write_rows(tmp_path / "again" / "results.jsonl", kept)
    measured = []

    def counting(head, parts, classes, seed, budget, advance):
        measured.append((head.name, seed))
        return measure(head, parts, classes, seed, budget, advance)

    monkeypatch.setattr(run, "measure", counting)
    command(tmp_path / "again", "--data-dir", str(folder), "--resume")
    rows = rows_of(tmp_path / "again")
    assert measured == [(HEADS[-1].name, 1)]
    assert rows[: len(kept) - 1] == kept[:-1]
    assert len(rows) == len(before)
    assert rows[-1]["test_accuracy"] == before[-1]["test_accuracy"], "a seed stands for everything"


def test_another_budget_or_other_images_are_measured_anew(out, folder, tmp_path, monkeypatch):
    shutil.copytree(out, tmp_path / "again")
    monkeypatch.setattr(run, "HEADS", HEADS[:1])
    monkeypatch.setattr(run, "FEW", 50)
    command(tmp_path / "again", "--data-dir", str(folder), "--resume")
    before, after = rows_of(out), rows_of(tmp_path / "again")
    assert after[: len(before)] == before, "rows of another setting stay"
    assert [(row["head"], row["images"]) for row in after[len(before) :]] == 4 * [(HEADS[0].name, [50, 40, 40])]
    told = [
        line.split("|")[1].strip()
        for line in (tmp_path / "again" / "report.md").read_text().splitlines()
        if "|" in line
    ]
    assert [name for name in told if name in {head.name for head in HEADS}] == [HEADS[0].name]


def test_a_second_set_joins_the_first(out, folder, tmp_path, monkeypatch):
    shutil.copytree(out, tmp_path / "again")
    monkeypatch.setattr(run, "HEADS", HEADS[:1])
    command(tmp_path / "again", "--data-dir", str(folder), "--resume", "--dataset", "mnist")
    results = Results.load(tmp_path / "again" / "results.jsonl")
    titles = [table.title for table in tables(results, last_settings(results))]
    assert titles[:2] == ["Accuracy on digits", "Accuracy on mnist"]


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--dataset", "cats"], "must be one of digits"), (["--dataset", "cifar-10"], "There is no cifar-10-binary")],
)
def test_what_cannot_be_run_is_said_without_a_traceback(tmp_path, options, message):
    arguments = ["images", *options, "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"})
    assert result.exit_code == 2
    assert message in result.output
