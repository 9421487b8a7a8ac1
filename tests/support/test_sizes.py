"""The figures that `make check` prints."""

import ast

from tests.support.sizes import comments_and_code, docstring_lines, function_lines

SOURCE = '''"""A module."""

import os  # a comment at the end

# a comment alone


def outer() -> str:
    """Two lines

    of text."""

    def inner() -> str:
        return os.name

    return inner()
'''


def test_lines_and_comments_by_hand() -> None:
    tree = ast.parse(SOURCE)
    assert sorted(function_lines(tree)) == [2, 6]  # inner; outer without its docstring, with two blank lines
    assert docstring_lines(tree) == {1, 9, 10, 11}
    assert comments_and_code(SOURCE) == (2, 5)  # import, def, def, return, return
