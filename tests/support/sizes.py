"""Sizes and comments of the code, printed beside the layer test; nothing here fails.

    python -m tests.support.sizes

A module's lines include everything. A function's lines leave its docstring out and count nested functions. Comments are
`#` lines and `#` at the end of a line, per 100 lines that are neither blank, comment nor docstring.
"""

import ast
import io
import statistics
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOPS = ("fedlm", "clients", "server", "scenarios", "tests")
AIMS = "aims: module 120 / 250, function 8 / 25, comments 3 to 6"


def function_lines(tree: ast.AST) -> list[int]:
    """Returns the lines of each function, without its docstring."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            has_docstring = ast.get_docstring(node, clean=False) is not None
            first = node.body[0]
            found.append(lines - ((first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0))
    return found


def docstring_lines(tree: ast.AST) -> set[int]:
    """Returns the numbers of the lines that are docstrings, of attributes too."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def comments_and_code(text: str) -> tuple[int, int]:
    """Returns how many comments there are, and lines of code."""
    comments = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type == tokenize.COMMENT]
    alone = {t.start[0] for t in comments if t.line.lstrip().startswith("#")}
    written = {number for number, line in enumerate(text.splitlines(), 1) if line.strip()}
    return len(comments), len(written - alone - docstring_lines(ast.parse(text)))


def row(name: str, files: list[Path]) -> str:
    """Returns a line of the table."""
    texts = [f.read_text(encoding="utf-8") for f in files]
    modules = [len(t.splitlines()) for t in texts if t.strip()]
    functions = sorted(lines for t in texts for lines in function_lines(ast.parse(t)))
    counts = [comments_and_code(t) for t in texts]
    comments = 100 * sum(c for c, _ in counts) / max(sum(n for _, n in counts), 1)
    p90 = functions[int(0.9 * len(functions))] if functions else 0
    module, function = statistics.median(modules), statistics.median(functions or [0])
    sizes = f"{module:6.0f} {max(modules):5d}    {function:4.0f} {p90:4d}"
    return f"{name:28} {len(modules):5d} {sum(modules):7,d}   {sizes}    {comments:4.1f}\n"


def main() -> None:
    """Prints a line a folder."""
    sys.stdout.write(f"{'':28} files   lines   module: median, max   function: median, p90   comments ({AIMS})\n")
    for top in TOPS:
        files = sorted((ROOT / top).rglob("*.py"))
        sys.stdout.write(row(top, files))
        for folder in sorted({f.parent for f in files} - {ROOT / top}) if top != "tests" else []:
            own = sorted(folder.glob("*.py"))
            if any(f.read_text(encoding="utf-8").strip() for f in own):
                sys.stdout.write(row(f"  {folder.relative_to(ROOT)}", own))


if __name__ == "__main__":
    main()
