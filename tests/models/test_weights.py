from __future__ import annotations

import hashlib
import pickle
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision_keys
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgedet.errors import EdgedetError
from edgedet.models import weights
from edgedet.models.backbones.base import Backbone
from edgedet.models.backbones.mobilenetv2 import MobileNetV2
from edgedet.models.backbones.shufflenetv2 import ShuffleNetV2
from edgedet.models.backbones.squeezenet import SqueezeNet
from edgedet.models.download import fetch
from edgedet.models.torch_file import load_plain
from edgedet.models.weights import load_backbone_weights


def small() -> Backbone:
    return ShuffleNetV2("0.5x")


def small_weights() -> dict[str, Tensor]:
    return torchvision_keys.state_dict("shufflenetv2_0.5x")


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def refused(backbone: Backbone, path: Path) -> str:
    """The message of the refusal; the backbone is as it was."""
    before = copied(backbone)
    with pytest.raises(EdgedetError) as caught:
        load_backbone_weights(backbone, path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.state_dict().items())
    assert str(path) in str(caught.value)
    return str(caught.value)


class Executes:
    """A pickle that would run code when loaded."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.proof,)


# --- what loads


@pytest.mark.parametrize(
    ("build", "network"),
    [
        *((lambda width=width: MobileNetV2(width), f"mobilenetv2_{width}") for width in (0.35, 0.5, 0.75, 1.0)),
        *((lambda width=width: ShuffleNetV2(width), f"shufflenetv2_{width}") for width in ("0.5x", "1.0x", "1.5x")),
        (SqueezeNet, "squeezenet_1.1"),
    ],
)
def test_every_value_of_torchvisions_backbone_arrives(build: Any, network: str, tmp_path: Path) -> None:
    backbone = build()
    published = torchvision_keys.state_dict(network)
    load_backbone_weights(backbone, saved(tmp_path / "weights.pth", published))
    own = backbone.state_dict()
    assert all(torch.equal(own[key], tensor) for key, tensor in published.items() if key in own)
    assert {key for key in own if key not in published} == {key for key in own if key.startswith("extra.")}


def test_squeezenets_own_block_keeps_its_weights(tmp_path: Path) -> None:
    backbone = SqueezeNet()
    before = copied(backbone.extra)
    load_backbone_weights(backbone, saved(tmp_path / "w.pth", torchvision_keys.state_dict("squeezenet_1.1")))
    assert all(torch.equal(tensor, before[key]) for key, tensor in backbone.extra.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 90},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
        lambda state: {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")},
        lambda state: {key: tensor for key, tensor in state.items() if not key.startswith(("fc.", "conv5."))},
        lambda state: {key: nn.Parameter(tensor, requires_grad=False) for key, tensor in state.items()},
        lambda state: {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()},
    ],
    ids=["plain", "state_dict", "module", "both", "without counters", "without classifier", "parameters", "half"],
)
def test_the_usual_forms_of_a_state_dict_load(wrap: Any, tmp_path: Path) -> None:
    backbone = small()
    load_backbone_weights(backbone, saved(tmp_path / "w.pth", wrap(small_weights())))
    expected = small_weights()["stage4.3.branch2.5.weight"]
    torch.testing.assert_close(backbone.stage4[3].branch2[5].weight.detach(), expected, rtol=1e-3, atol=1e-3)
    assert backbone.conv1[0].weight.dtype == torch.float32


def test_pytorchs_older_file_form_loads(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(small_weights(), path, _use_new_zipfile_serialization=False)
    load_backbone_weights(small(), path)


# --- what does not fit


def test_weights_of_another_width_name_the_model_they_fit(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", torchvision_keys.state_dict("shufflenetv2_1.0x"))
    message = refused(small(), path)
    assert "do not fit shufflenetv2_0.5x" in message
    assert "stage2.0.branch1.2.weight is [58, 24, 1, 1], not [24, 24, 1, 1]" in message
    assert "they fit shufflenetv2_1.0x" in message


def test_weights_of_another_family_name_the_model_they_fit(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", torchvision_keys.state_dict("mobilenetv2_0.75"))
    assert "they fit mobilenetv2_0.75" in refused(SqueezeNet(), path)


def test_a_missing_and_an_unexpected_key_are_named(tmp_path: Path) -> None:
    state = small_weights()
    state["stage5.0.weight"] = state.pop("stage3.2.branch2.0.weight")
    message = refused(small(), saved(tmp_path / "w.pth", state))
    assert "stage3.2.branch2.0.weight is missing" in message
    assert "stage5.0.weight is unexpected" in message
    assert "torchvision" in message


def test_only_the_classifiers_own_keys_are_dropped(tmp_path: Path) -> None:
    state = small_weights() | {"fc.gamma": torch.ones(3)}
    assert "fc.gamma is unexpected" in refused(small(), saved(tmp_path / "w.pth", state))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (torch.full((24,), float("nan")), "not finite"),
        (torch.ones(24, dtype=torch.int64), "torch.int64"),
        (torch.ones(25), "[25], not [24]"),
    ],
)
def test_a_wrong_value_is_named(value: Tensor, problem: str, tmp_path: Path) -> None:
    state = small_weights() | {"conv1.1.running_var": value}
    message = refused(small(), saved(tmp_path / "w.pth", state))
    assert "conv1.1.running_var" in message
    assert problem in message


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        42,
        None,
        torch.ones(3),
        {"epoch": 3},
        {"state_dict": {}},
        {"state_dict": "here"},
        {1: torch.ones(3)},
        {"conv1.0.weight": [1.0, 2.0]},
        {"conv1.0.weight": torch.ones(3, device="meta")},
        {"conv1.0.weight": torch.eye(3).to_sparse()},
    ],
    ids=str,
)
def test_plain_data_that_is_no_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    assert "no state dict" in refused(small(), saved(tmp_path / "w.pth", content))


# --- hostile and damaged files


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(zipped: bool, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    path = tmp_path / "w.pth"
    torch.save({"state_dict": Executes(proof)}, path, _use_new_zipfile_serialization=zipped)
    assert "tensors and plain data" in refused(small(), path)
    path.write_bytes(pickle.dumps(Executes(proof)))
    assert "tensors and plain data" in refused(small(), path)
    assert not proof.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    assert "tensors and plain data" in refused(small(), saved(tmp_path / "w.pth", nn.Linear(2, 2)))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(share: float, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(small_weights(), path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "truncated" in refused(small(), path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=40), zipped=st.booleans())
def test_damaged_bytes_give_an_error_or_plain_data(place: float, noise: bytes, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(3), "b": [1, "x"]}, path, _use_new_zipfile_serialization=zipped)
    data = bytearray(path.read_bytes())
    start = int(place * len(data))
    data[start : start + len(noise)] = noise
    path.write_bytes(data)
    try:
        content = load_plain(path, limit=1 << 20)
    except EdgedetError as error:
        assert str(path) in str(error)
    else:
        assert content is None or isinstance(content, dict | list | tuple | str | int | float | bytes | Tensor)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert "no such weights" in refused(small(), tmp_path / "none.pth")
    assert "cannot read" in refused(small(), tmp_path)
    assert "did you mean 'imagenet'" in refused(small(), Path("imagnet"))


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pth", {"a": torch.ones(1000)})
    assert load_plain(path, limit=100_000)["a"].shape == (1000,)
    with pytest.raises(EdgedetError, match="larger than"):
        load_plain(path, limit=4000)


def test_a_small_file_that_unpacks_to_a_large_one_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "w.pth", {"a": torch.zeros(1 << 20)})
    bomb = tmp_path / "bomb.pth"
    with zipfile.ZipFile(whole) as stored, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in stored.infolist():
            packed.writestr(entry.filename, stored.read(entry))
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(EdgedetError, match="unpacks to more than"):
        load_plain(bomb, limit=1 << 20)


# --- the published files


BODY = b"the published bytes"
HASH = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)  # type: ignore[attr-defined]
        if name == "silent":
            self.server.release.wait(10)  # type: ignore[attr-defined]
        elif name == "missing":
            self.send_error(404)
        elif name in ("elsewhere", "file", "moved"):
            target = {"elsewhere": "ftp://127.0.0.1/good", "file": "file:///etc/hostname", "moved": "/good"}[name]
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
        elif name == "garbage":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        else:
            self.send_response(200)
            if name != "unannounced":
                self.send_header("Content-Length", str(len(BODY) + (5 if name == "truncated" else 0)))
            self.end_headers()
            self.wfile.write(BODY.upper() if name == "altered" else BODY)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.release = [], threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.release.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


def get(server: ThreadingHTTPServer, name: str, **options: Any) -> bytes:
    url = f"http://127.0.0.1:{server.server_port}/models/{name}"
    defaults: dict[str, Any] = {"sha256_prefix": HASH[:8], "limit": 1000, "fix": "get it by hand", "schemes": ("http",)}
    return fetch(url, **{**defaults, **options})


@pytest.mark.parametrize("name", ["good", "moved", "unannounced"])
def test_fetch_gives_the_bytes(server: ThreadingHTTPServer, name: str) -> None:
    assert get(server, name) == BODY


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("missing", {}, "HTTP 404"),
        ("altered", {}, "not the published one"),
        ("truncated", {}, "broke off at 19 of 24 bytes"),
        ("good", {"limit": 18}, "larger than"),
        ("unannounced", {"limit": 18}, "larger than"),
        ("silent", {"timeout": 0.2}, "timed out"),
        ("garbage", {}, "cannot download"),
        ("elsewhere", {}, "cannot download"),
        ("file", {}, "cannot download"),
    ],
)
def test_what_goes_wrong_names_the_url_and_the_way_out(
    server: ThreadingHTTPServer, name: str, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(EdgedetError, match=what) as caught:
        get(server, name, **options)
    assert f"/models/{name}" in str(caught.value)
    assert "get it by hand" in str(caught.value)


def test_plain_http_is_not_spoken_unless_asked_for(server: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{server.server_port}/models/good"
    with pytest.raises(EdgedetError, match="unknown url type: http"):
        fetch(url, sha256_prefix=HASH, limit=1000, fix="")
    assert server.asked == []  # type: ignore[attr-defined]


def test_exactly_the_limit_is_taken(server: ThreadingHTTPServer) -> None:
    assert get(server, "good", limit=len(BODY)) == BODY


def published(server: ThreadingHTTPServer, cache: Path) -> Path:
    base = f"http://127.0.0.1:{server.server_port}/models/"
    return weights._imagenet_file("squeezenet_1.1", cache, base, schemes=("http",), timeout=5)


@pytest.fixture
def local_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """The published file's name with the hash of what the test server sends."""
    name = f"squeezenet1_1-{HASH[:8]}.pth"
    monkeypatch.setitem(weights.IMAGENET_FILES, "squeezenet_1.1", name)
    return name


def test_the_published_file_is_downloaded_once(server: ThreadingHTTPServer, local_name: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "edgedet"
    for _ in range(2):
        path = published(server, cache)
        assert path == cache / local_name
        assert path.read_bytes() == BODY
    assert server.asked == [local_name]  # type: ignore[attr-defined]


def test_a_damaged_file_in_the_cache_is_downloaded_again(
    server: ThreadingHTTPServer, local_name: str, tmp_path: Path
) -> None:
    (tmp_path / local_name).write_bytes(BODY[:5])
    assert published(server, tmp_path).read_bytes() == BODY


def test_a_failed_download_leaves_nothing_behind(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(weights.IMAGENET_FILES, "squeezenet_1.1", "squeezenet1_1-00000000.pth")
    with pytest.raises(EdgedetError, match="not the published one"):
        published(server, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        with pytest.raises(EdgedetError, match="cannot download") as caught:
            weights._imagenet_file("shufflenetv2_1.0x", tmp_path, base, schemes=("http",), timeout=5)
    assert f"download {base}shufflenetv2_x1-5666bf0f80.pth" in str(caught.value)
    assert "--weights shufflenetv2_x1-5666bf0f80.pth" in str(caught.value)


def test_imagenet_takes_the_file_of_the_backbone_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = saved(tmp_path / "weights.pth", small_weights())
    name = f"shufflenetv2_x0.5-{hashlib.sha256(path.read_bytes()).hexdigest()[:10]}.pth"
    path.rename(tmp_path / name)
    monkeypatch.setitem(weights.IMAGENET_FILES, "shufflenetv2_0.5x", name)
    backbone = small()
    load_backbone_weights(backbone, "imagenet", cache=tmp_path)
    assert torch.equal(backbone.conv1[0].weight, small_weights()["conv1.0.weight"])


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75])
def test_widths_without_published_weights_say_which_have_some(width: float, tmp_path: Path) -> None:
    with pytest.raises(EdgedetError, match=f"no ImageNet weights of mobilenetv2_{width}") as caught:
        load_backbone_weights(MobileNetV2(width), "imagenet", cache=tmp_path)
    assert "mobilenetv2_1.0" in str(caught.value)
    assert "squeezenet_1.1" in str(caught.value)


def test_the_published_names_are_torchvisions() -> None:
    assert weights.BASE_URL == "https://download.pytorch.org/models/"
    assert weights.IMAGENET_FILES == {
        "mobilenetv2_1.0": "mobilenet_v2-b0353104.pth",
        "shufflenetv2_0.5x": "shufflenetv2_x0.5-f707e7126e.pth",
        "shufflenetv2_1.0x": "shufflenetv2_x1-5666bf0f80.pth",
        "shufflenetv2_1.5x": "shufflenetv2_x1_5-3c479a10.pth",
        "squeezenet_1.1": "squeezenet1_1-b8a52dc0.pth",
    }
