from __future__ import annotations

import io
import json
import pickle
import random
import resource
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgedet.errors import EdgedetError, unknown_value
from edgedet.models import checkpoint as module
from edgedet.models.blocks import ConvNormAct
from edgedet.models.checkpoint import load_checkpoint, save_checkpoint
from edgedet.models.detector import Detector
from edgedet.models.zoo import build_detector, list_heads, list_models
from edgedet.spec import Postprocess, Preprocess, Spec

NAME = "shufflenetv2_0.5x"
CONVOLUTION = "stem.0.weight"


class Small(nn.Module):
    """Stands for a detector: with its few tensors, hundreds of damaged files are read in no time."""

    strides = (8, 16, 32, 64)

    def __init__(self, name: str, classes: int, activation: str) -> None:
        super().__init__()
        self.architecture = {"name": name, "num_classes": classes, "activation": activation}
        self.num_classes = classes
        self.stem = ConvNormAct(3, 8 if name == NAME else 16, 3, activation)
        self.output = nn.Conv2d(8, classes, 1)


def build_small(name: str, classes: int, *, activation: str, head: str = "gfl", **_: Any) -> Small:
    if name not in list_models():
        raise unknown_value("model", name, list_models())
    if head not in list_heads():
        raise unknown_value("head", head, list_heads())
    return Small(name, classes, activation)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "build_detector", build_small)


@pytest.fixture(scope="module")
def spec() -> Spec:
    return Spec(
        model=NAME,
        class_names=("cat", "größer"),
        strides=(8, 16, 32, 64),
        preprocess=Preprocess(height=64, width=96),
        postprocess=Postprocess(iou_threshold=0.5),
    )


@pytest.fixture(scope="module")
def saved(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of the small stand-in."""
    path = tmp_path_factory.mktemp("saved") / "model.pt"
    torch.manual_seed(0)
    save_checkpoint(path, build_small(NAME, 2, activation="relu6"), spec)  # type: ignore[arg-type]
    return path.read_bytes()


@pytest.fixture(scope="module")
def content(saved: bytes) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(io.BytesIO(saved), weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return build_detector(NAME, 2, activation="relu6")


@pytest.fixture(scope="module")
def real(detector: Detector, spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a real detector, in a folder that did not exist."""
    path = tmp_path_factory.mktemp("real") / "new" / "model.pt"
    training = {"step": 3, "moments": [torch.arange(4.0)], "betas": (0.9, 0.999)}
    save_checkpoint(path, detector, spec, training=training)
    return path


@pytest.fixture
def refused(tmp_path: Path, small: None) -> Callable[[bytes], str]:
    """Loads a file of these bytes, which has to be refused; gives the message."""

    def attempt(data: bytes) -> str:
        path = tmp_path / "model.pt"
        path.write_bytes(data)
        with pytest.raises(EdgedetError) as caught:
            load_checkpoint(path)
        assert caught.value.where == str(path)
        assert path.read_bytes() == data
        return str(caught.value)

    return attempt


def packed(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_weight(content: dict[str, Any], change: Callable[[Tensor], Any]) -> bytes:
    weights = content["weights"]
    return packed({**content, "weights": {**weights, CONVOLUTION: change(weights[CONVOLUTION])}})


class TestRealDetector:
    def test_weights_architecture_specification_and_training_state_come_back(
        self, real: Path, detector: Detector, spec: Spec
    ) -> None:
        loaded = load_checkpoint(real)
        assert loaded.spec == spec
        assert loaded.detector.architecture == {"name": NAME, "num_classes": 2, "activation": "relu6"}
        assert not any(part.training for part in loaded.detector.modules())
        expected = detector.state_dict()
        assert loaded.detector.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.detector.state_dict().items())
        assert loaded.training["step"] == 3
        assert loaded.training["betas"] == (0.9, 0.999)
        assert torch.equal(loaded.training["moments"][0], torch.arange(4.0))
        assert list(real.parent.iterdir()) == [real]

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"name": "mobilenetv2_0.35"}, "with 2 classes: backbone.features"),
            ({"num_classes": 3}, r"with 3 classes: head.outputs.0.weight is \[34, 96, 1, 1\], not \[35, 96, 1, 1\]"),
        ],
    )
    def test_another_architecture(self, change: dict[str, Any], problem: str, real: Path, tmp_path: Path) -> None:
        content = torch.load(real, weights_only=True)
        torch.save({**content, "architecture": {**content["architecture"], **change}}, tmp_path / "other.pt")
        with pytest.raises(EdgedetError, match=problem):
            load_checkpoint(tmp_path / "other.pt")

    def test_options_come_back_with_the_weights(self, spec: Spec, tmp_path: Path) -> None:
        detector = build_detector(NAME, 2, head="fcos", spp=True, se=True, dropblock=0.1, dropblock_size=3)
        save_checkpoint(tmp_path / "model.pt", detector, spec)
        loaded = load_checkpoint(tmp_path / "model.pt").float_detector
        assert loaded.architecture == detector.architecture
        assert {type(layer) for layer in loaded.modules()} == {type(layer) for layer in detector.modules()}
        images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(loaded(images), detector.eval()(images))

    def test_a_full_disk_leaves_the_previous_file(self, detector: Detector, spec: Spec, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        path.write_bytes(b"the previous file")
        with no_file_larger_than(100_000), pytest.raises(EdgedetError, match="cannot write") as caught:
            save_checkpoint(path, detector, spec)
        assert caught.value.where == str(path)
        assert "\n" not in caught.value.what
        assert path.read_bytes() == b"the previous file"
        assert list(tmp_path.iterdir()) == [path]


class TestWriting:
    def test_a_checkpoint_for_inference_holds_no_training_state(
        self, saved: bytes, small: None, tmp_path: Path
    ) -> None:
        (tmp_path / "model.pt").write_bytes(saved)
        assert load_checkpoint(tmp_path / "model.pt").training is None

    def test_the_file_holds_tensors_and_plain_data_only(self, content: dict[str, Any]) -> None:
        def leaves(value: Any) -> Iterator[type]:
            if isinstance(value, dict):
                for key, item in value.items():
                    yield from (type(key), *leaves(item))
            else:
                yield type(value)

        assert set(leaves(content)) <= {str, int, Tensor, type(None)}
        assert json.loads(content["spec"])["class_names"] == ["cat", "größer"]

    def test_a_file_in_the_place_of_the_folder(self, spec: Spec, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("")
        with pytest.raises(EdgedetError, match="cannot write"):
            save_checkpoint(tmp_path / "run" / "model.pt", Small(NAME, 2, "relu"), spec)  # type: ignore[arg-type]

    def test_what_cannot_be_pickled_is_not_written_over_a_good_file(self, spec: Spec, tmp_path: Path) -> None:
        path = tmp_path / "model.pt"
        path.write_bytes(b"the previous file")
        with pytest.raises(Exception, match="pickle"):
            save_checkpoint(path, Small(NAME, 2, "relu"), spec, training=lambda: None)  # type: ignore[arg-type]
        assert path.read_bytes() == b"the previous file"


class TestDamaged:
    def test_a_file_cut_anywhere_is_refused(self, saved: bytes, refused: Callable[[bytes], str]) -> None:
        generator = random.Random(0)
        cuts = [0, 1, 3, 4, 100, len(saved) - 1, len(saved) - 22, *generator.sample(range(len(saved)), 40)]
        for cut in cuts:
            assert "truncated" in refused(saved[:cut])

    def test_changed_bytes_are_refused_or_harmless(self, saved: bytes, tmp_path: Path, small: None) -> None:
        generator = random.Random(0)
        path, refusals = tmp_path / "model.pt", 0
        pickle_end = saved.index(b"PK\x03\x04", 4)
        for _ in range(200):
            damaged = bytearray(saved)
            damaged[generator.randrange(pickle_end)] = generator.randrange(256)
            path.write_bytes(damaged)
            try:
                load_checkpoint(path)
            except EdgedetError:
                refusals += 1
        assert 100 < refusals < 200

    def test_random_bytes_and_other_files(self, refused: Callable[[bytes], str]) -> None:
        picture = b"\x89PNG\r\n\x1a\n" + bytes(100)
        for data in (b"", b"\0" * 1000, random.Random(0).randbytes(1000), picture, b"PK\x05\x06" + bytes(18)):
            assert "not a PyTorch file" in refused(data)

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.pt", tmp_path):
            with pytest.raises(EdgedetError, match="cannot read") as caught:
                load_checkpoint(path)
            assert caught.value.where == str(path)


class Evil:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.proof,)


class TestForeign:
    @pytest.mark.parametrize("form", ["zip", "older zip-less", "plain pickle"])
    def test_code_in_a_pickle_is_not_run(
        self, form: str, content: dict[str, Any], refused: Callable[[bytes], str], tmp_path: Path
    ) -> None:
        proof = tmp_path / "ran"
        evil = {**content, "training": Evil(proof)}
        buffer = io.BytesIO()
        if form == "plain pickle":
            pickle.dump(Evil(proof), buffer)
        else:
            torch.save(evil, buffer, _use_new_zipfile_serialization=form == "zip")
        assert "not a PyTorch file of tensors and plain data" in refused(buffer.getvalue())
        assert not proof.exists()
        buffer.seek(0)
        with suppress(RuntimeError):
            torch.load(buffer, weights_only=False)
        assert proof.exists(), "the pickle has to be one that would have run"

    def test_a_whole_module_is_refused(self, refused: Callable[[bytes], str]) -> None:
        assert "tensors and plain data" in refused(packed(Small(NAME, 2, "relu")))

    @pytest.mark.parametrize("foreign", [{}, [1], "text", None, {"format": "other"}, {"format": torch.zeros(3)}])
    def test_other_content_is_not_a_checkpoint(self, foreign: Any, refused: Callable[[bytes], str]) -> None:
        assert "not an edgedet checkpoint" in refused(packed(foreign))

    @pytest.mark.parametrize("version", [None, 2, "1", torch.zeros(3), torch.ones(1)])
    def test_another_version(self, version: Any, content: dict[str, Any], refused: Callable[[bytes], str]) -> None:
        assert "version" in refused(packed({**content, "version": version}))


class TestPartsThatDoNotFit:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"name": "shufflenetv2_1.0x"}, "not those of shufflenetv2_1.0x with 2 classes"),
            ({"name": "mobilenetv2_0.5"}, "not those of mobilenetv2_0.5 with 2 classes"),
            ({"num_classes": 3}, f"not those of {NAME} with 3 classes"),
            ({"num_classes": 1}, f"not those of {NAME} with 1 classes"),
            ({"name": "resnet50"}, "unknown model 'resnet50'"),
            ({"activation": "softmax"}, "unknown activation 'softmax'"),
            ({"activation": ""}, "unknown activation ''"),
            ({"num_classes": 0}, "or none"),
            ({"num_classes": -1}, "or none"),
            ({"num_classes": 10**400}, "claims more than 10000 classes"),
            ({"num_classes": 2.0}, "does not say which model"),
            ({"num_classes": torch.tensor(2)}, "does not say which model"),
            ({"name": None}, "does not say which model"),
            ({"activation": None}, "does not say which model"),
            ({"head": "fcoss"}, "unknown head 'fcoss'"),
            ({"head": None}, "does not say which model"),
            ({"head": torch.tensor(2)}, "does not say which model"),
            ({"spp": 1}, "does not say which model"),
            ({"se": torch.tensor(True)}, "does not say which model"),
            ({"dropblock": 0}, "does not say which model"),
            ({"dropblock_size": 7.0}, "does not say which model"),
        ],
    )
    def test_architecture(
        self, change: dict[str, Any], said: str, content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        assert said in refused(packed({**content, "architecture": {**content["architecture"], **change}}))

    @pytest.mark.parametrize("key", ["architecture", "weights", "spec"])
    @pytest.mark.parametrize("value", [None, torch.zeros(2)])
    def test_a_part_of_another_type(
        self, key: str, value: Any, content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        assert "the checkpoint" in refused(packed({**content, key: value}))

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda w: w.fill_(float("nan")), "not finite"),
            (lambda w: torch.where(w == w.max(), torch.inf, w), "not finite"),
            (lambda w: w[:1], "is [1, 3, 3, 3], not [8, 3, 3, 3]"),
            (lambda w: w[None], "[1, 8, 3, 3, 3]"),
            (lambda w: w.to(torch.int8), "not a tensor of torch.float32"),
            (lambda w: w.to(torch.complex64), "not a tensor of torch.float32"),
            (lambda w: w.to("meta"), "not a tensor of torch.float32"),
            (lambda w: w.to_sparse(), "not a tensor of torch.float32"),
            (lambda w: w.tolist(), "not a tensor of torch.float32"),
            (lambda w: torch.zeros(1).expand(10**12), "is [1000000000000]"),
        ],
        ids=["NaN", "inf", "cut", "rank", "int8", "complex", "meta", "sparse", "list", "huge"],
    )
    def test_a_weight_that_is_none(
        self, change: Callable[[Tensor], Any], said: str, content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        message = refused(with_weight(content, lambda w: change(w.clone())))
        assert said in message
        assert CONVOLUTION in message

    def test_missing_and_unknown_weights(self, content: dict[str, Any], refused: Callable[[bytes], str]) -> None:
        weights = dict(content["weights"])
        weights["renamed"] = weights.pop(CONVOLUTION)
        weights[7] = torch.zeros(1)
        message = refused(packed({**content, "weights": weights}))
        assert f"{CONVOLUTION} is missing" in message
        assert "2 of its tensors belong elsewhere" in message

    @pytest.mark.parametrize(
        "change",
        [
            {"class_names": ["one"]},
            {"class_names": ["a", "b", "c"]},
            {"strides": [8, 16, 32]},
            {"preprocess": {"height": 65, "width": 64}},
            {"preprocess": {"height": 64, "width": 100}},
        ],
    )
    def test_a_specification_of_another_network(
        self, change: dict[str, Any], content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        text = json.dumps({**json.loads(content["spec"]), **change})
        assert "does not fit its architecture" in refused(packed({**content, "spec": text}))

    @pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', "[" * 100_000])
    def test_a_specification_that_is_none(
        self, text: str, content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        assert refused(packed({**content, "spec": text}))


class TestTooLarge:
    def test_a_file_beyond_the_limit_is_not_read(
        self, saved: bytes, refused: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LIMIT", len(saved) - 1)
        assert "larger than" in refused(saved)

    def test_a_zip_that_unpacks_beyond_the_limit(
        self, saved: bytes, refused: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LIMIT", 40_000)
        buffer = io.BytesIO(saved)
        with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model/data/bomb", bytes(1_000_000))
        assert len(buffer.getvalue()) < 40_000
        assert "unpacks to more than" in refused(buffer.getvalue())

    def test_few_bytes_that_stand_for_endless_text(
        self, content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        doubled: list[Any] = []
        for _ in range(60):
            doubled = [doubled, doubled]
        for key in ("format", "version", "architecture", "spec", "weights"):
            assert refused(packed({**content, key: doubled}))

    def test_a_storage_that_claims_more_than_there_is(
        self, content: dict[str, Any], refused: Callable[[bytes], str]
    ) -> None:
        data = packed(content)
        claim = pickle.BININT1 + bytes([8 * 27])
        huge = pickle.BININT + (2**31 - 1).to_bytes(4, "little")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in entries if name.endswith("data.pkl"))
        assert claim in entries[name]
        entries[name] = entries[name].replace(claim, huge)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for key, value in entries.items():
                archive.writestr(key, value)
        assert "truncated" in refused(buffer.getvalue())


@contextmanager
def no_file_larger_than(limit: int) -> Iterator[None]:
    """Writing beyond the limit fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
