"""The program's first moment."""

import sys
from typing import Any

import pytest

from fedlm.__main__ import main


class _Interrupted:
    """Ctrl-C while the command line is imported."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "fedlm.cli.main":
            raise KeyboardInterrupt


def test_ctrl_c_while_importing_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "fedlm.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "fedlm: interrupted.\n"


def test_help_explains_arguments_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pairs of typer and click leave the help of arguments out."""
    monkeypatch.setattr(sys, "argv", ["fedlm", "simulate", "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    main()
    assert "a corpus to prepare first" in capsys.readouterr().out
