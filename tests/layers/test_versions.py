"""A process says with what it trains: kernels or not, and why not; an untried TensorFlow is said once."""

from importlib import metadata

import pytest
import tensorflow as tf

from fedlm.layers import device
from fedlm.layers.kernels import custom_call, versions
from fedlm.layers.kernels.machine import NARROW, machine
from fedlm.training import tensorflow as loading

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.21.0", True), ("2.21.7", True), ("2.22.0", False), ("2.2.1", False), ("2.210.0", False), ("", False)],
)
def test_a_version_is_tried_by_its_minor(version: str, expected: bool) -> None:
    assert versions.is_tried(version) is expected


def test_the_tested_version_is_a_tried_one() -> None:
    assert versions.is_tried(metadata.version("tensorflow")) and versions.is_tried(tf.__version__)


def test_an_untried_version_is_said_once_and_gets_no_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    versions.warn_if_untried.cache_clear()
    versions.warn_if_untried()
    assert capsys.readouterr().err == ""
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "version", lambda name: "2.22.1")
        versions.warn_if_untried.cache_clear()
        versions.warn_if_untried()
        versions.warn_if_untried()
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "TensorFlow 2.22.1 (tried: 2.21)" in said
        loading._set_xla_flags()
        assert "XLA_FLAGS" not in loading.os.environ
    versions.warn_if_untried.cache_clear()


def test_status_says_what_a_process_trains_with(monkeypatch: pytest.MonkeyPatch) -> None:
    here = machine()
    expected = "llvm kernels, " + here.name if here else "XLA without kernels: this processor"
    assert device.status().startswith(expected)
    with monkeypatch.context() as patch:
        patch.setattr(custom_call, "machine", lambda: None)
        assert device.status() == "XLA without kernels: this processor has neither AVX-512 nor AVX2 with FMA"
    with monkeypatch.context() as patch:
        patch.setattr(custom_call, "machine", lambda: NARROW)
        patch.setattr(custom_call, "registry", lambda: None)
        assert device.status() == "XLA without kernels: this build of TensorFlow hides its registry of custom calls"
    with monkeypatch.context() as patch:
        patch.setattr(tf, "__version__", "2.22.0")
        assert device.status() == "XLA without kernels: TensorFlow 2.22.0 was not tried"
    monkeypatch.setattr(device, "on_cpu", lambda: False)
    assert device.status() == "Keras layers, GPU"
