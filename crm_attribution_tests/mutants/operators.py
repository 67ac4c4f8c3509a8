"""Mutations that cosmic-ray does not know: of Polars expressions, calls and SQL. `cosmic_ray.mutating` applies them.

cosmic-ray's own operators change operators, comparisons, numbers, booleans and loops. What this repository decides by
is also the order of the keys of a sort, which of several rows is kept, the filter that leaves rows out, and SQL, in
strings and in files.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import parso
from cosmic_ray import plugins
from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import PythonLeaf

Node = Any
"""A node or a leaf of parso's tree; its types do not tell which of `children` and `value` there is."""

Position = tuple[tuple[int, int], tuple[int, int]]

SWAPPED_NAMES = [
    ("min", "max"),
    ("first", "last"),
    ("any", "all"),
    ("head", "tail"),
    ("min_horizontal", "max_horizontal"),
    ("any_horizontal", "all_horizontal"),
    ("is_null", "is_not_null"),
    ("eq_missing", "ne_missing"),
    ("startswith", "endswith"),
    ("floor", "ceil"),
    ("days", "hours"),
    ("minutes", "seconds"),
    ("cum_sum", "cum_count"),
    ("forward_fill", "backward_fill"),
]

ENDS = {"appendleft": "append", "extendleft": "extend", "popleft": "pop"}
"""Only this way: a list has no left end of its own, so the other way every test would fail."""

DURATIONS = ("days", "hours", "minutes", "seconds")
"""Of the names those that are exchanged as keywords too; a column called `first` is none."""

SWAPPED_WORDS = [
    ("first", "last"),
    ("left", "inner"),
    ("semi", "anti"),
    ("forward", "backward"),
    ("granted", "denied"),
    ("pending", "held"),
]

DROPPED_CALLS = {
    *("filter", "sort", "unique", "drop_nulls", "fill_null", "reverse", "lower", "upper", "strip", "casefold"),
    *("strip_chars", "to_lowercase", "over", "distinct"),
}


def _both(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {a: b for pair in pairs for a, b in (pair, pair[::-1])}


class Base(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """One mutation at each position of `texts`: what the node's code becomes."""

    def texts(self, node: Node) -> Iterator[str]:
        """The code of each mutant of a node."""
        raise NotImplementedError

    def mutation_positions(self, node: Node) -> Iterator[Position]:
        for _ in self.texts(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        text = list(self.texts(node))[index]
        first = node.get_first_leaf()
        return PythonLeaf(text, node.start_pos, prefix=first.prefix if first else "")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return ()


def _code(node: Node) -> str:
    return str(node.get_code(include_prefix=False))


def _call(node: Node) -> tuple[str, list[Node]] | None:
    """Of the trailer `(...)` behind `.name` or `name`: the name, and the arguments with the commas between them."""
    if node.type != "trailer" or _code(node.children[0]) != "(":
        return None
    before = node.get_previous_sibling()
    if before is None:
        return None
    name = before.children[-1] if before.type == "trailer" else before
    if name.type != "name":
        return None
    inner = node.children[1:-1]
    arguments = inner[0].children if inner and inner[0].type == "arglist" else inner
    return name.value, list(arguments)


class SwapName(Base):
    """`min` for `max`, `first` for `last`, …: of a method or function that is called, or a keyword."""

    def texts(self, node: Node) -> Iterator[str]:
        if node.type != "name" or (other := (_both(SWAPPED_NAMES) | ENDS).get(node.value)) is None:
            return
        follower = node.get_next_leaf()
        if follower is None or node.parent.type == "funcdef":
            return
        if follower.value == "(" or (follower.value == "=" and node.value in DURATIONS):
            yield other


class SwapWord(Base):
    """`"last"` for `"first"`, `"inner"` for `"left"`: a string that chooses."""

    def texts(self, node: Node) -> Iterator[str]:
        if node.type == "string" and (other := _both(SWAPPED_WORDS).get(node.value.strip('"'))) is not None:
            yield f'"{other}"'


class SwapKeys(Base):
    """The first two keys of a sort change places, and each key is left out once; the same for a tuple as a key."""

    def texts(self, node: Node) -> Iterator[str]:
        found = _call(node)
        if found is not None and found[0] in ("sort", "sort_by", "unique", "over", "group_by", "coalesce"):
            keys = [each for each in found[1] if _code(each) != ","]
            places = [each for each in keys if each.type != "argument"]
            rest = [_code(each) for each in keys if each.type == "argument"]
            orders = list(_orders([_code(each) for each in places]))
            if found[0] in _SETS:
                orders = orders[-1:]
            yield from (f"({', '.join([*order, *rest])})" for order in orders)
        elif node.type == "testlist_comp" and node.parent.type == "atom" and _in_key(node):
            yield from (
                f"{', '.join(order)}," for order in _orders([_code(e) for e in node.children if _code(e) != ","])
            )


_SETS = ("unique", "over", "group_by")
"""Calls whose keys have no order: one of them is left out, but none changes places."""


def _orders(keys: list[str]) -> Iterator[list[str]]:
    if len(keys) < 2:
        return
    for at in range(len(keys) - 1):
        yield [*keys[:at], keys[at + 1], keys[at], *keys[at + 2 :]]
    yield keys[:-1]


def _in_key(node: Node) -> bool:
    """Whether the tuple is the result of a function given as `key=`."""
    above = node.parent
    while above is not None and above.type in ("atom", "lambdef"):
        above = above.parent
    return above is not None and above.type == "argument" and _code(above).startswith("key=")


class DropCall(Base):
    """A filter, a sort or a normalisation is left out: `frame.filter(…).x` becomes `frame.x`."""

    def texts(self, node: Node) -> Iterator[str]:
        if node.type not in ("atom_expr", "power"):
            return
        parts = node.children
        for at in range(1, len(parts) - 1):
            if parts[at].type == "trailer" and _code(parts[at])[1:] in DROPPED_CALLS and _code(parts[at + 1])[0] == "(":
                yield "".join(part.get_code(include_prefix=place > 0) for place, part in enumerate(parts)
                              if place not in (at, at + 1))  # fmt: skip


class DropStatement(Base):
    """A call whose result nobody takes, or `x += y`, is left out."""

    def texts(self, node: Node) -> Iterator[str]:
        if node.parent is None or node.parent.type != "simple_stmt":
            return
        if (node.type == "atom_expr" and _call(node.children[-1]) is not None) or (
            node.type == "expr_stmt" and node.children[1].type == "operator" and _code(node.children[1]) != "="
        ):
            yield "pass"


class DropCondition(Base):
    """An `if` is always taken, and never."""

    def texts(self, node: Node) -> Iterator[str]:
        above = node.parent
        if above is None:
            return
        before = node.get_previous_sibling()
        if above.type == "if_stmt" and before is not None and _code(before) in ("if", "elif"):
            yield from ("True", "False")
        if above.type in ("test", "comp_if") and before is not None and _code(before) == "if":
            yield from ("True", "False")


# --- SQL

_SQL = re.compile(
    r"\b(SELECT|FROM|WHERE|JOIN|ORDER BY|GROUP BY|QUALIFY|HAVING|UPDATE|SET|DELETE|INSERT|IS NULL|IS NOT NULL)\b|"
    r"(=|<|>) \?|\b(AND|OR) \w+"
)
_HIDDEN = re.compile(
    r"--[^\n]*|'(?:[^']|'')*'|/\*.*?\*/|\bdecimal\(\d+, \d+\)|\bOR REPLACE\b|\bEXISTS \(\s*SELECT 1\b",
    re.DOTALL | re.IGNORECASE,
)
"""What is no code, how wide a decimal is, and what is selected where only rows are asked for."""
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+$", re.IGNORECASE)
_OUTER = re.compile(r"\b(?:LEFT|RIGHT|FULL|ANTI)\b", re.IGNORECASE)
_JOINED = re.compile(r"\b([a-z]\w*)\.([a-z]\w*) = ([a-z]\w*)\.\2\b")
_PART = re.compile(r"^\)", re.MULTILINE)
"""Between the queries of a WITH, which name tables of their own."""

_SQL_SWAPS: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r"\bAND\b", lambda _: "OR"),
    (r"\bOR\b", lambda _: "AND"),
    (r"(?<![<>=!])<(?![<>=])", lambda _: "<="),
    (r"<=", lambda _: "<"),
    (r"(?<![<>=!-])>(?![<>=])", lambda _: ">="),
    (r">=", lambda _: ">"),
    (r"(?<![<>=!:])=(?![=>])", lambda _: "<>"),
    (r"<>", lambda _: "="),
    (r"\bIS NOT NULL\b", lambda _: "IS NULL"),
    (r"\bIS NULL\b", lambda _: "IS NOT NULL"),
    (r"\bNOT (?!NULL|MATERIALIZED|EXISTS)", lambda _: ""),
    (r"\bLEFT JOIN\b", lambda _: "JOIN"),
    (r"\bSEMI JOIN\b", lambda _: "ANTI JOIN"),
    (r"\bANTI JOIN\b", lambda _: "SEMI JOIN"),
    (r"\b(arg_)?min\(", lambda m: f"{m[1] or ''}max("),
    (r"\b(arg_)?max\(", lambda m: f"{m[1] or ''}min("),
    (r"\bfirst\(", lambda _: "last("),
    (r"\blast\(", lambda _: "first("),
    (r"\bleast\(", lambda _: "greatest("),
    (r"\bgreatest\(", lambda _: "least("),
    (r" DESC\b", lambda _: ""),
    (r"\bDISTINCT (?!FROM|ON)", lambda _: ""),
    (r"\bUNION ALL\b", lambda _: "UNION"),
    (r" (\+) ", lambda _: " - "),
    (r" (-) ", lambda _: " + "),
    (r"(?<![\w.$'])\d+(?![\w.'])", lambda m: str(int(m[0]) + 1)),
    (r"\b(ORDER BY|PARTITION BY) ([\w.]+( DESC)?), ([\w.]+( DESC)?)", lambda m: f"{m[1]} {m[4]}, {m[2]}"),
    (r"\b(ORDER BY|PARTITION BY) ([\w.]+( DESC)?), ([\w.]+( DESC)?)", lambda m: f"{m[1]} {m[2]}"),
    (r"\bcoalesce\(([^(),]+), ([^(),]+)\)", lambda m: f"coalesce({m[2]}, {m[1]})"),
]


def sql_mutants(text: str) -> Iterator[str]:
    """Every mutant of a SQL text; comments, literals and the widths of decimals stay.

    A column that stands there of two tables is taken from the other one, within one query of a WITH.
    """
    masked = _HIDDEN.sub(lambda found: re.sub(r"[^\n]", "\0", found[0]), text)
    for pattern, change in _SQL_SWAPS:
        for found in re.finditer(pattern, masked):
            if "\0" not in found[0]:
                yield text[: found.start()] + change(found) + text[found.end() :]
    ends = [0, *(found.start() for found in _PART.finditer(masked)), len(masked)]
    for start, end in itertools.pairwise(ends):
        yield from _other_owners(text, masked, start, end)


def _other_owners(text: str, masked: str, start: int, end: int) -> Iterator[str]:
    columns = [
        found
        for found in re.compile(r"\b([a-z]\w*)\.([a-z]\w*)\b").finditer(masked, start, end)
        if not _TABLE.search(masked, start, found.start())
    ]
    part = masked[start:end]
    joined = set() if _OUTER.search(part) else {found.groups() for found in _JOINED.finditer(part)}
    owners: dict[str, list[str]] = {}
    for found in columns:
        known = owners.setdefault(found[2], [])
        if found[1] not in known:
            known.append(found[1])
    for found in columns:
        several = owners[found[2]]
        if len(several) > 1:
            other = several[(several.index(found[1]) + 1) % len(several)]
            if {(found[1], found[2], other), (other, found[2], found[1])} & joined:
                continue  # an inner join has made them equal
            yield f"{text[: found.start()]}{other}.{found[2]}{text[found.end() :]}"


class SqlText(Base):
    """SQL in a string of Python."""

    def texts(self, node: Node) -> Iterator[str]:
        if node.type not in ("string", "fstring_string") or not _SQL.search(node.value):
            return
        if node.parent.type == "simple_stmt":  # a docstring
            return
        yield from sql_mutants(node.value)


class SqlFile(Base):
    """A file of SQL, which parso keeps as it stands."""

    def texts(self, node: Node) -> Iterator[str]:
        if node.parent is None:
            yield from sql_mutants(str(node.get_code()))

    def mutate(self, node: Node, index: int) -> Node:
        return parso.parse(list(self.texts(node))[index])


OURS: dict[str, type[Base]] = {
    each.__name__: each for each in (SwapName, SwapWord, SwapKeys, DropCall, DropStatement, DropCondition, SqlText)
}
FILES: dict[str, type[Base]] = {SqlFile.__name__: SqlFile}

_THEIRS = [
    "ReplaceComparisonOperator_Lt_LtE", "ReplaceComparisonOperator_LtE_Lt", "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_GtE_Gt", "ReplaceComparisonOperator_Lt_GtE", "ReplaceComparisonOperator_Gt_LtE",
    "ReplaceComparisonOperator_Eq_NotEq", "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Is_IsNot", "ReplaceComparisonOperator_IsNot_Is", "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add", "ReplaceBinaryOperator_Mul_Add", "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul", "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceBinaryOperator_BitAnd_BitOr", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer",
    "ZeroIterationForLoop", "ReplaceContinueWithBreak", "ReplaceBreakWithContinue",
]  # fmt: skip
"""Of cosmic-ray's operators those that make one telling mutant at a place: `+` becomes `-`, not also `**` and `>>`."""


class _Provider:
    """As cosmic-ray wants a plugin."""

    def __iter__(self) -> Iterator[str]:
        return iter({**OURS, **FILES})

    def __getitem__(self, name: str) -> type[Base]:
        return {**OURS, **FILES}[name]


plugins.OPERATOR_PROVIDERS["ours"] = _Provider()


def operators(file: str) -> dict[str, Any]:
    """Name -> operator, for a file of Python or of SQL."""
    if file.endswith(".sql"):
        return {f"ours/{name}": kind() for name, kind in FILES.items()}
    theirs = {f"core/{name}": plugins.get_operator(f"core/{name}")() for name in _THEIRS}
    return theirs | {f"ours/{name}": kind() for name, kind in OURS.items()}


_DEFENSIVE = {"maintain_order", "frozen", "strict", "repr"}
"""Keywords that only make a result certain, or a mistake loud: without them the same comes out on the same machine."""


def inert(node: Node) -> bool:
    """Whether nothing can come of a change at this node: an annotation (all modules postpone their evaluation), or the
    value of a keyword that is a precaution."""
    above = node
    while above is not None and above.parent is not None:
        parent = above.parent
        if parent.type == "argument" and above is not parent.children[0] and _code(parent.children[0]) in _DEFENSIVE:
            return True
        at = parent.children.index(above)
        if parent.type in ("annassign", "tfpdef") and at == 1 and _code(parent.children[0]) == ":":
            return True
        if parent.type == "tfpdef" and at == 2:
            return True
        if parent.type == "funcdef" and _code(parent.children[at - 1]) == "->":
            return True
        if parent.type in ("funcdef", "classdef", "file_input") and at > 0 and above.type == "suite":
            return False
        above = parent
    return False
