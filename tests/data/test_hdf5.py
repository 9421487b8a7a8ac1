"""TensorFlow Federated's HDF5 files: read as they are, and refused in one sentence where they are damaged or hostile."""

import gzip
import os
import random
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from fedlm.config import RunConfig
from fedlm.data import hdf5
from fedlm.data.corpus import open_corpus
from fedlm.errors import CorpusError
from fedlm.preparation.vault import prepare
from fedlm.vault.keys import KeySource
from tests.data.test_split import parts_of
from tests.support.running import fedlm

STRINGS = h5py.string_dtype()


def write(path: Path, clients: Mapping[str, list[str]], key: str = "snippets") -> Path:
    with h5py.File(path, "w") as file:
        examples = file.create_group("examples")
        for name, texts in clients.items():
            examples.create_group(name).create_dataset(
                key, data=np.array(texts, object), dtype=STRINGS, shape=(len(texts),)
            )
    return path


def read(path: Path) -> list[tuple[str, str]]:
    return [(d.user, d.text) for d in open_corpus(str(path))]


def refused(path: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        read(path)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("key", ["snippets", "tokens"])
@pytest.mark.parametrize("name", ["a.h5", "A.H5", "a.hdf5"])
def test_clients_and_their_texts_are_read(tmp_path: Path, key: str, name: str) -> None:
    texts = {"ANN\tOF KENT": ["one", "", "zw\u00f6lf \U0001f600"], "bob": [f"line {i}" for i in range(200)], "cid": []}
    path = write(tmp_path / name, texts, key)
    assert read(path) == [(u, t) for u in sorted(texts) for t in texts[u] or [""]]


def test_strings_of_fixed_length_and_compressed_ones_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, options in (("a", {}), ("b", {"compression": "gzip", "chunks": (2,)})):
            file.create_dataset(f"examples/{name}/snippets", data=np.array([b"one", b"two", b"three"]), **options)
    assert read(tmp_path / "a.h5") == [(u, t) for u in "ab" for t in ("one", "two", "three")]


def test_a_packed_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", {"ann": ["one", "two"]})
    for name in ("b.h5.gz", "c.h5"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
        assert read(tmp_path / name) == [("ann", "one"), ("ann", "two")]


def test_train_and_test_files_make_one_vault(tmp_path: Path) -> None:
    write(tmp_path / "train.h5", {"ann": ["a b c", "d e f"], "bob": ["g h", "i j"]})
    write(tmp_path / "test.h5", {"ann": ["t u"], "eve": ["v w"]})
    done = fedlm("prepare", "train.h5", "v.db", "--test", "test.h5", "--scrub", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert parts_of(tmp_path / "v.db") == {
        "ann": (["a b c", "d e f"], [], ["t u"]),
        "bob": (["g h", "i j"], [], []),
        "eve": ([], [], ["v w"]),
    }
    assert "clients of the test corpus only, which are evaluated and never train: 1" in done.stdout


Make = Callable[[h5py.File, Path], object]


def _soft(file: h5py.File, secret: Path) -> None:
    file["elsewhere/snippets"] = np.array([b"secret"])
    file["examples/ann/snippets"] = h5py.SoftLink("/elsewhere/snippets")


def _external(file: h5py.File, secret: Path) -> None:
    file["examples/ann/snippets"] = h5py.ExternalLink(str(secret), "examples/eve/snippets")


def _external_client(file: h5py.File, secret: Path) -> None:
    file["examples/ann"] = h5py.ExternalLink(str(secret), "examples/eve")


def _external_group(file: h5py.File, secret: Path) -> None:
    file["examples"] = h5py.ExternalLink(str(secret), "examples")


def _fifo(file: h5py.File, secret: Path) -> None:
    os.mkfifo(secret.with_name("fifo"))  # whoever opens it waits for ever
    file["examples/ann/snippets"] = h5py.ExternalLink(str(secret.with_name("fifo")), "x")


def _storage(file: h5py.File, secret: Path) -> None:
    raw = [(str(secret), 0, 60)]
    file.create_dataset("examples/ann/snippets", (6,), "S10", external=raw)


def _virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((1,), "S10")
    layout[:] = h5py.VirtualSource(str(secret), "examples/eve/snippets", (1,), dtype="S10")
    file.create_group("examples/ann").create_virtual_dataset("snippets", layout)


def _reference(file: h5py.File, secret: Path) -> None:
    held = file.create_dataset("held", data=np.array([b"secret"]))
    file.create_dataset("examples/ann/snippets", data=np.array([held.ref], object), dtype=h5py.ref_dtype)


def _numbers(file: h5py.File, secret: Path) -> None:
    file["examples/ann/snippets"] = np.arange(4)


def _table(file: h5py.File, secret: Path) -> None:
    file["examples/ann/snippets"] = np.array([[b"one"], [b"two"]])


def _group(file: h5py.File, secret: Path) -> None:
    file.create_group("examples/ann/snippets")


def _cycle(file: h5py.File, secret: Path) -> None:
    file.create_group("examples")
    file["examples/ann"] = file["examples"]


def _dataset(file: h5py.File, secret: Path) -> None:
    file["examples/ann"] = np.array([b"one"])


def _pixels(file: h5py.File, secret: Path) -> None:
    file["examples/f0000_14/pixels"] = np.zeros((2, 28, 28), np.float32)


def _huge(file: h5py.File, secret: Path) -> None:
    file.create_dataset("examples/ann/snippets", (10**12,), STRINGS, chunks=(1000,))


def _long(file: h5py.File, secret: Path) -> None:
    file.create_dataset("examples/ann/snippets", (4,), f"S{2**31 - 1}", chunks=(1,))


def _chunk(file: h5py.File, secret: Path) -> None:
    file.create_dataset("examples/ann/snippets", (4,), "S1", chunks=(2**30,), maxshape=(None,), compression="gzip")


def _shared(file: h5py.File, secret: Path) -> None:
    texts = file.create_dataset("held", data=np.array([b"x" * 2**20] * 8), chunks=(1,), compression="gzip")
    for client in range(1000):  # many clients, one large text
        file[f"examples/u{client:04d}/snippets"] = texts


def _no_utf_8(file: h5py.File, secret: Path) -> None:
    file["examples/ann/snippets"] = np.array([b"one", b"caf\xe9"])


def _nul(file: h5py.File, secret: Path) -> None:
    file["examples/ann/snippets"] = np.array([b"one", b"a\0b"])


def _name(file: h5py.File, secret: Path) -> None:
    group = file.create_group("examples")
    h5py.h5g.create(group.id, b"caf\xe9")


def _blank_name(file: h5py.File, secret: Path) -> None:
    file["examples/ \u200b/snippets"] = np.array([b"one"])


def _empty(file: h5py.File, secret: Path) -> None:
    file.create_group("examples")


def _scalar(file: h5py.File, secret: Path) -> None:
    file["examples/ann/snippets"] = "one"


def _null(file: h5py.File, secret: Path) -> None:
    file.create_dataset("examples/ann/snippets", data=h5py.Empty(STRINGS))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_soft, "link to elsewhere"),
        (_external, "link to elsewhere"),
        (_external_client, "link to elsewhere"),
        (_external_group, "link to elsewhere"),
        (_fifo, "link to elsewhere"),
        (_storage, "in another file"),
        (_virtual, "in another file"),
        (_reference, "no list of strings"),
        (_numbers, "no list of strings"),
        (_table, "no list of strings"),
        (_scalar, "no list of strings"),
        (_null, "no list of strings"),
        (_group, "no data set snippets or tokens"),
        (_cycle, "no data set snippets or tokens"),
        (_pixels, "no data set snippets or tokens"),
        (_dataset, "is no group"),
        (_huge, "more text than the file can hold"),
        (_long, "more text than the file can hold"),
        (_chunk, "more text than the file can hold"),
        (_shared, "more text than a file of its size"),
        (_no_utf_8, "Text 2 of client 1 of .* is not text in UTF-8: byte 4 is 0xE9"),
        (_nul, "Text 2 of client 1 .* NUL"),
        (_name, "Client 1 of .* has a name that is not UTF-8"),
        (_blank_name, "Client 1 of .* has an empty name"),
        (_empty, "has no clients"),
        (lambda file, secret: file.create_group("other"), "has no group examples"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_not_plainly_in_the_file_is_refused_in_one_sentence(tmp_path: Path, make: Make, said: str) -> None:
    secret = write(tmp_path / "secret.h5", {"eve": ["the secret"]})
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file, secret)
    sentence = refused(tmp_path / "a.h5")
    assert re.search(said, sentence), sentence
    assert "secret" not in sentence and "ann" not in sentence  # no name and no text of a client


@pytest.mark.parametrize(
    "content", [b"not HDF5", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4000), b"\x1f\x8bxx"]
)
def test_what_is_not_hdf5_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    assert "is not an HDF5 file" in (said := refused(tmp_path / "a.h5")) or "gzip" in said


def test_an_empty_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.h5").touch()
    assert "is empty" in refused(tmp_path / "a.h5")
    assert "There is no file" in refused(tmp_path / "b.h5")


def test_a_damaged_file_is_refused_or_read_as_strings(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.h5", {"ann": ["one", "two", "three"], "bob": ["four"]}).read_bytes()
    generator = random.Random(1)
    for _ in range(8):
        damaged, place = bytearray(whole), generator.randrange(len(whole))
        damaged[place] ^= 1 + generator.randrange(255)
        (tmp_path / "b.h5").write_bytes(damaged)
        try:
            assert all(isinstance(text, str) for _, text in read(tmp_path / "b.h5"))
        except CorpusError as error:
            assert "\n" not in str(error)


def test_a_file_in_which_hdf5_loops_for_ever_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bytearray(write(tmp_path / "a.h5", {"ann": ["one", "two", "three"], "bob": ["four"]}).read_bytes())
    heap = whole.index(b"GCOL")
    for place in range(heap + 16, heap + 200, 8):  # sizes of the objects in the heap of texts
        whole[place : place + 8] = (0).to_bytes(8, "little")
    (tmp_path / "b.h5").write_bytes(whole)
    monkeypatch.setattr(hdf5, "_PATIENCE", 3.0)
    assert "is damaged" in refused(tmp_path / "b.h5")


def test_a_process_that_crashes_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5", {"ann": ["one"]})
    crash = [sys.executable, "-c", 'import os; os.write(1, b\'["ann", "one", ""]\\n\'); os.abort()']
    monkeypatch.setattr(hdf5, "module_command", lambda *_: crash)
    documents = open_corpus(str(path))
    assert next(documents).text == "one"
    with pytest.raises(CorpusError, match="is damaged"):
        next(documents)


def test_a_damaged_file_makes_no_vault(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(write(tmp_path / "w.h5", {"ann": ["one"], "bob": ["two"]}).read_bytes()[:-900])
    with pytest.raises(CorpusError):
        prepare(str(tmp_path / "a.h5"), tmp_path / "v", KeySource(tmp_path / "k"), RunConfig(), lambda *_: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "w.h5"]
