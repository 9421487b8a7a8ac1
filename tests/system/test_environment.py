"""What a process inherits changes no run: variables, files of our packages' names, closed streams, processors, proxies."""

import http.client
import json
import os
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedlm.plugins.path import OURS
from fedlm.system.environment import clean
from fedlm.system.listening import StartupErrors
from fedlm.system.processes import child_environment, module_command, start
from fedlm.system.processors import processors

FEDLM = [sys.executable, "-m", "fedlm"]
SETTINGS = ["scrub=patterns", "rounds=1", "cohort_size=2", "eval_every=1", "model=lstm(units=8, layers=1)"]
CORPUS = "synthetic(clients=4, messages=6)"
HOSTILE = {
    **{"MPLBACKEND": "module://matplotlib_inline.backend_inline", "KERAS_BACKEND": "jax", "PYTHONWARNINGS": "error"},
    **{"PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1", "PYTHONHASHSEED": "7", "TF_XLA_FLAGS": "--no_such_flag=1"},
    **{"OMP_NUM_THREADS": "7", "TF_NUM_INTRAOP_THREADS": "5", "TF_ENABLE_ONEDNN_OPTS": "0", "LC_ALL": "C", "LANG": "C"},
    **{
        "COLUMNS": "0",
        "TMPDIR": "/no/such/folder",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    },
    **{"HTTPS_PROXY": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"},
}
"""Each of them alone ended a process, changed a figure, or hid what a command printed."""


def fedlm(
    *words: object, cwd: Path, env: dict[str, str] | None = None, **more: Any
) -> subprocess.CompletedProcess[str]:
    given = dict(os.environ) if env is None else env
    command = [*FEDLM, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, timeout=300, check=False, **more)


def trained(cwd: Path, env: dict[str, str], out: str, corpus: str = CORPUS) -> Any:
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    done = fedlm("simulate", corpus, *sets, "--workers", 1, "--out", out, "--json", cwd=cwd, env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.slow
@pytest.mark.flower
def test_hostile_variables_folders_and_settings_files_give_the_bits_of_a_clean_run(tmp_path: Path) -> None:
    home, theirs = tmp_path / "home", tmp_path / "theirs"
    (home / ".keras").mkdir(parents=True)
    (home / ".keras" / "keras.json").write_text('{"floatx": "float64", "backend": "jax", "epsilon": 0.1}')
    for package in OURS:
        (theirs / package).mkdir(parents=True)
        (theirs / package / "__init__.py").write_text("raise RuntimeError('theirs')\n")
    for module in ("numpy", "keras", "tensorflow", "yaml"):
        (theirs / f"{module}.py").write_text("raise RuntimeError('theirs')\n")
    (theirs / "matplotlibrc").write_text("no such: line\nbackend: nonsense\n")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH")}
    undisturbed, said = trained(tmp_path, {**kept, "HOME": str(tmp_path)}, "clean")
    assert said == ""
    hostile = {**kept, **HOSTILE, "HOME": str(home), "PYTHONPATH": str(theirs)}
    command = Path(sys.executable).parent / "fedlm"
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    words = [command, "simulate", CORPUS, *sets, "--workers", "1", "--out", tmp_path / "run", "--json"]
    done = subprocess.run(words, cwd=theirs, env=hostile, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["weights_sha256"] == undisturbed["weights_sha256"]
    told = [line for line in done.stderr.splitlines() if "has the name of a package of fedlm" in line]
    assert len(told) == len(OURS) and len(done.stderr.splitlines()) == len(OURS), done.stderr


@pytest.mark.parametrize(
    "name", [*(f"{package}.py" for package in OURS), "clients/__init__.py", "random.py", "numpy.py"]
)
def test_a_file_that_has_the_name_of_a_module_is_not_used(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("import os\nos._exit(77)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = str(Path(sys.executable).parent / "fedlm")
    done = subprocess.run([program, "config", "seed"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "seed" in done.stdout, (done.returncode, done.stderr)
    assert (f"{tmp_path / name} has the name of a package of fedlm and is not used" in done.stderr) == (
        name.split("/")[0].removesuffix(".py") in OURS
    )
    child = module_command("fedlm.scrub.kinds")  # a module of ours that does nothing by itself
    assert subprocess.run(child, cwd=tmp_path, env=child_environment(), check=False).returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_a_closed_or_full_stream_ends_no_command(closed: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m fedlm prepare '{CORPUS}' v.db --scrub none {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (4 if "full" in closed else 0), done.stderr
    if closed == ">/dev/full":
        assert done.stderr.count("\n") == 1 and "its output could not be written (No space left" in done.stderr
    assert (tmp_path / "v.db").read_bytes().startswith(b"SQLite format 3\0")  # not what a library printed
    assert fedlm("vault", "verify", "v.db", cwd=tmp_path).stdout == "all 3 clients open\n"


def test_a_reader_that_is_gone_ends_no_command(tmp_path: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m fedlm prepare '{CORPUS}' v.db --scrub none | head -c 1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "v.db").is_file()


def kernel(folder: Path, groups: str, mounts: str) -> Path:
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text(mounts)
    return folder


@pytest.mark.parametrize(
    ("quota", "count"),
    [
        ("max 100000", 64),
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("1000 100000", 1),
        ("x", 64),
        ("", 64),
        ("100000 0", 64),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_processors_are_those_of_the_quota(
    quota: str, count: int, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    point = tmp_path / "sys fs"
    (point / "a" / "b").mkdir(parents=True)
    escaped = str(point).replace(" ", "\\040")
    if version == 2:
        (point / "a" / "cpu.max").write_text(quota)  # of the group above
        proc = kernel(tmp_path, "0::/a/b\n", f"30 20 0:1 / {escaped} rw - cgroup2 cgroup2 rw\n")
    else:
        for name, word in zip(("quota", "period"), quota.replace("max", "-1").split(), strict=False):
            (point / "a" / "b" / f"cpu.cfs_{name}_us").write_text(word)
        mount = f"30 20 0:1 / {escaped} rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        proc = kernel(tmp_path, "5:memory:/other\n4:cpu,cpuacct:/a/b\n", mount)
    assert processors(proc) == count


def test_processors_are_those_of_the_affinity(tmp_path: Path) -> None:
    code = "from fedlm.system.processors import processors; print(processors())"
    one = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {code}"
    assert subprocess.check_output([sys.executable, "-c", one]) == b"1\n"
    assert 1 <= processors(tmp_path / "nothing") <= (os.cpu_count() or 1)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.mark.parametrize("no_proxy", ["", "example.org", "*", "localhost"])
def test_calls_to_this_machine_never_go_through_a_proxy(no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "grpc_proxy"), "http://127.0.0.1:9")
    for name, value in clean({**given, "no_proxy": no_proxy}).items():
        monkeypatch.setenv(name, value)
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for host in ("127.0.0.1", "localhost"):
            address = f"{host}:{server.server_port}"
            assert httpx.get(f"http://{address}/").status_code == 204
            with urllib.request.urlopen(f"http://{address}/") as reply:
                assert reply.status == 204
            connection = http.client.HTTPConnection(address)
            connection.request("GET", "/")
            assert connection.getresponse().status == 204
        server.shutdown()
    others = clean({**given, "no_proxy": no_proxy})["no_proxy"].split(",")
    assert not no_proxy or no_proxy in others  # the user's own choice stays


def test_a_child_that_fails_at_import_says_its_own_error() -> None:
    process = start([sys.executable, "-c", "print('x')\nimport no_such_module"], child_environment(), errors=True)
    errors = StartupErrors(process)
    process.wait(60)
    assert errors.last_words() == "ModuleNotFoundError: No module named 'no_such_module'"


def test_lines_of_progress_off_a_terminal_differ() -> None:
    code = (
        "from fedlm.system.terminal import ClientProgress\n"
        "with ClientProgress('work') as p:\n"
        "    for done in [0] * 20 + [1] * 20 + [2] * 20:\n        p.update(done, 2, 'steps')"
    )
    lines = subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()
    assert len(lines) == len(set(lines)) and lines[0] == "work: 0/2 steps" and lines[-1] == "work: 2/2 steps"


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/x", None])
def test_matplotlib_has_a_folder_where_home_takes_no_files_and_it_does_not_stay(
    home: str | None, tmp_path: Path
) -> None:
    code = (
        "import os\nfrom fedlm.system.plotting import *\ngive_matplotlib_a_folder()\nload_matplotlib()\n"
        "from matplotlib import pyplot\nprint(os.environ['MPLCONFIGDIR'], os.listdir(os.environ['MPLCONFIGDIR']) != [])"
    )
    env = {
        n: v for n, v in os.environ.items() if n not in ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    }
    env |= {"TMPDIR": str(tmp_path), **({} if home is None else {"HOME": home})}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.stdout.startswith(str(tmp_path)) and done.stdout.endswith("True\n"), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_go_to_a_home_that_takes_them(tmp_path: Path) -> None:
    code = "import os\nfrom fedlm.system.plotting import *\ngive_matplotlib_a_folder()\nprint('MPLCONFIGDIR' in os.environ)"
    env = {n: v for n, v in os.environ.items() if n not in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    for home, made in ((tmp_path, "False\n"), (Path("/dev/null"), "True\n")):
        assert subprocess.check_output([sys.executable, "-c", code], env={**env, "HOME": str(home)}, text=True) == made
