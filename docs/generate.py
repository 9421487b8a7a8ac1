"""Writes the pages that follow from the code: the configuration, the command line, the Python API.

Usage:

    python docs/generate.py            # writes docs/configuration.md, docs/command-line.md and docs/api.md
    python docs/generate.py --check    # exits with 1 and names each page that differs from the code
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import typer.main
from pydantic.fields import FieldInfo

import fedlm
from fedlm.cli.main import app
from fedlm.config import RunConfig
from fedlm.config_keys import Keys
from scenarios.runner.design import Case, Contrast, Design, Figure, Options, Trend
from scenarios.runner.paper import Paper, Published
from scenarios.runner.study import StudyResult

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py from the code. Edit the code, then run: make docs -->\n"

TITLES = {"run": "Run", "client": "Clients", "server": "Server", "privacy": "Privacy", "preparation": "Preparation"}
BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}"}
PAGES = {  # a page that documents the keys of a group
    "client": "See [models](models.md) for models, vocabularies and optimizers.",
    "privacy": "See [differential privacy](differential-privacy.md) for what the keys guarantee together.",
    "preparation": "A vault fixes these keys when it is prepared. `simulate` reads them when it is given a corpus.",
}


def cell(text: str) -> str:
    """Returns text for a cell of a Markdown table; a page of docs/ that it names becomes a link."""
    text = re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
    return re.sub(r"docs/([\w-]+)\.md", r"[\1](\1.md)", text)


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cell(c) for c in line)} |\n" for line in lines)


# --- configuration.md -------------------------------------------------------------------------------------------------


def groups() -> dict[str, list[str]]:
    """Returns the configuration's keys by group: a comment above the first key of a group names it."""
    found: dict[str, list[str]] = {}
    group = ""
    for line in inspect.getsource(Keys).splitlines():
        if heading := re.match(r"    # (\w+)", line):
            group = heading[1] if heading[1] in TITLES else group
        elif (key := re.match(r"    (\w+): ", line)) and not RunConfig.model_fields.get(key[1], _HIDDEN).exclude:
            found.setdefault(group, []).append(key[1])
    return found


_HIDDEN = FieldInfo(exclude=True)


def value(info: FieldInfo) -> str:
    """Returns a key's default as TOML writes it."""
    if isinstance(info.default, bool):
        return f"`{str(info.default).lower()}`"
    return f'`"{info.default}"`' if isinstance(info.default, str) else f"`{info.default}`"


def bounds(info: FieldInfo) -> str:
    """Returns a key's type and range."""
    kind = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    limits = [
        form.format("2^63" if (limit := getattr(rule, name)) == 2**63 else f"{limit:g}")
        for rule in info.metadata
        for name, form in BOUNDS.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([kind.get(getattr(info.annotation, "__name__", ""), str(info.annotation)), *limits])


def configuration() -> str:
    """Returns docs/configuration.md."""
    text = [
        NOTE,
        "# Configuration keys\n",
        "Every key of a run, with its default. Set a key in a TOML file (`--config run.toml`), on the command line\n"
        "(`--set rounds=200`, once per key) or in Python (`RunConfig(rounds=200)`). The command line wins over the file.\n"
        "An unknown key or an invalid value is an error, never ignored. The defaults are the Shakespeare setting of\n"
        "[Reddi et al. 2021](https://arxiv.org/abs/2003.00295).\n",
        "Some keys take a *spec string*: a name with options in brackets, `lstm(units=128)`. Quote it in a shell:\n",
        '```\nfedlm simulate mine.db --set rounds=200 --set "model=lstm(units=128)"\n```\n',
    ]
    for group, keys in groups().items():
        rows = list[tuple[str, ...]]()
        for key in keys:
            info = RunConfig.model_fields[key]
            rows.append((f"`{key}`", value(info), bounds(info), sentence(info.description or "")))
        text += [f"## {TITLES[group]}\n", *([PAGES[group] + "\n"] if group in PAGES else [])]
        text.append(table(("key", "default", "type", "meaning"), rows))
    return "\n".join(text)


def sentence(text: str) -> str:
    """Returns a description that begins with a capital letter, unless it begins with a value such as `chars`."""
    first = text.split(",")[0].split(" ")[0]
    return text if not first.isalpha() or "," in text.split(" ")[0] else text[:1].upper() + text[1:]


# --- command-line.md --------------------------------------------------------------------------------------------------


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yields each command that does something, with its full name."""
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield name, command
        for child, inner in command.commands.items():
            if not inner.hidden:
                yield from commands(inner, f"{name} {child}")
    else:
        yield name, command


def parameter(item: click.Parameter) -> tuple[str, ...]:
    """Returns an argument's or option's row: how it is written, its default, what it means."""
    help_text = getattr(item, "help", None) or ""
    kind = item.type.name.removesuffix(" range").upper().replace("FILE", "PATH")
    metavar = (item.metavar or item.human_readable_name.upper()) if isinstance(item, click.Argument) else kind
    if isinstance(item, click.Argument):
        written = f"`{metavar}`"
    else:
        names = ", ".join([*item.opts, *item.secondary_opts])
        written = f"`{names}`" if getattr(item, "is_flag", False) else f"`{names} {item.metavar or metavar}`"
    return written, "required" if item.required else default(item.default), help_text


def default(given: Any) -> str:
    """Returns a default as a shell takes it; nothing where there is none."""
    if given is None or given is False or given == "" or callable(given) or "UNSET" in str(given).upper():
        return ""
    return f"`{given}`"


EXIT_CODES = """An error is one sentence on stderr, and the exit code says of which kind; `fedlm --debug COMMAND` shows the traceback.

| code | meaning |
| --- | --- |
| 0 | done |
| 2 | invalid usage or configuration: an option, a key, or a file that a key names; an output that exists already or cannot be made |
| 3 | invalid data: a corpus, vault, key, receipt or certificate, or the folder of a run, study or deployment, is missing, damaged or not what it should be |
| 4 | the run failed; also an unexpected error, which is a mistake in fedlm |
| 130 | Ctrl-C |
| 143, 129 | SIGTERM, SIGHUP |

A file is made only in a folder that exists. The folder of a run, a study or a deployment is made with the folders above it.
"""


def command_line() -> str:
    """Returns docs/command-line.md."""
    root = typer.main.get_command(app)
    text = [
        NOTE,
        "# Command line\n",
        "Every command with its arguments and options. `fedlm COMMAND --help` prints the same. Commands with `--json` print\n"
        "one JSON object for programs to read.\n",
        EXIT_CODES,
    ]
    for name, command in commands(root, "fedlm"):
        context = click.Context(command, info_name=name)
        usage = " ".join(command.collect_usage_pieces(context))
        text += [f"## {name}\n", f"```\n{name} {usage}\n```\n", re.sub(r"\n(?!\n)", " ", command.help or "") + "\n"]
        rows = [parameter(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
        text += [table(("argument or option", "default", "meaning"), rows)] if rows else []
    return "\n".join(text)


# --- api.md -----------------------------------------------------------------------------------------------------------


def api() -> str:
    """Returns docs/api.md: a directive of mkdocstrings for each public name of `fedlm`."""
    names = [n for n in fedlm.__all__ if not n.startswith("_")]
    text = [
        NOTE,
        "# Python API\n",
        "Import these names from `fedlm` itself: `from fedlm import RunConfig, prepare, simulate`. They load TensorFlow only\n"
        "when a call needs it. Every other module is internal and may change between versions.\n",
    ]
    text += [line for name in names for line in entry(getattr(fedlm, name))]
    text += [
        "## Declaring a study\n",
        "A study file imports these names: `from scenarios.runner.study import Case, Figure, Options, Study`.\n",
    ]
    text += [
        line
        for thing in (Design, Case, Contrast, Trend, Figure, Paper, Published, Options, StudyResult)
        for line in entry(thing)
    ]
    return "\n".join(text)


def entry(thing: Any) -> list[str]:
    """Returns a heading and the directive of a public name; see mkdocs.yml for where modules are found."""
    module = thing.__module__.removeprefix("scenarios.")
    directive = f"::: {module}.{thing.__qualname__}\n"
    if thing is RunConfig:  # its keys have a page of their own, and most methods are for the code
        directive = "[Configuration keys](configuration.md) has all keys.\n\n" + directive
        directive += "    options:\n      members: [load, to_toml]\n"
    return [f"## {thing.__qualname__}\n", directive]


PAGES_OF_CODE = {"configuration.md": configuration, "command-line.md": command_line, "api.md": api}


def main() -> int:
    """Writes the pages, or only compares them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing, exit with 1 if a page differs")
    check, stale = parser.parse_args().check, []
    for name, make in PAGES_OF_CODE.items():
        file, text = DOCS / name, make()
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                file.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"Stale: {', '.join(stale)}. Run: python docs/generate.py\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
