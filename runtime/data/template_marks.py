"""Compiles a chat template so that what it yields tells which message it stands at."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from runtime.data.template_sandbox import NumberedMessage, Sandbox, kept, one_round, spend


class Mark(str):
    """An empty text that knows where it stands in the template. `message` is None behind the loop."""

    __slots__ = ("loop", "message")
    loop: int
    message: int | None

    def __str__(self) -> str:  # Jinja passes what it yields through str(), which must not lose the type
        return self


@lru_cache(maxsize=32)
def compile_marked(source: str, undefined: type[jinja2.Undefined] = jinja2.Undefined) -> jinja2.Template:
    """The template with a mark at the start of every round of every loop, and behind the loop; within limits.

    Args:
        undefined: what a name without a value is to it.

    Raises jinja2.TemplateSyntaxError.
    """
    environment = Sandbox(extensions=[_GenerationTag, loopcontrols], undefined=undefined)
    environment.filters |= {"mark item": _mark_item, "mark end": _mark_end, "keep value": kept, "count text": _count}
    tree = _MarkLoops().visit(environment.parse(source))
    for node in tree.find_all(nodes.Node):
        node.environment = environment
        if "lineno" in node.attributes and node.lineno is None:
            node.lineno = 1
    return jinja2.Template.from_code(environment, environment.compile(tree), environment.make_globals(None))


@jinja2.pass_context
def _mark_item(context: Context, item: object, loop: int) -> str:
    """The mark of a loop's variable where it is a message; nothing for a loop over anything else."""
    if type(item) is NumberedMessage:
        one_round(context)
        return _mark(loop, item._number)
    kept(context, item)
    one_round(context)
    return ""


@jinja2.pass_context  # which keeps Jinja from calling it once and for all when it compiles
def _mark_end(context: Context, item: object, loop: int) -> str:
    return _mark(loop, None)


@jinja2.pass_context
def _count(context: Context, value: Any) -> Any:
    """Counts what is put aside for later, which `render` doesn't see."""
    spend(context, value, (), widths=False)
    return value


def _mark(loop: int, message: int | None) -> Mark:
    mark = Mark()
    mark.loop, mark.message = loop, message
    return mark


class _GenerationTag(Extension):
    """`{% generation %}`: accepted, and without effect. What is trained follows from one rule for all templates."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own interface)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)  # a variable that is set inside isn't seen outside


class _MarkLoops(NodeTransformer):
    """Marks loops, and counts what takes long on long texts and isn't a call.

    Names of the filters have a blank, so that no template can write them.
    """

    def __init__(self) -> None:
        self.loops = 0
        self.aside = 0
        """How many nodes whose text is put aside, not yielded, this one stands in."""

    def visit_For(self, node: nodes.For) -> list[nodes.Node]:  # noqa: N802 (Jinja's own interface)
        number, self.loops = self.loops, self.loops + 1
        self.generic_visit(node)
        names = [node.target] if isinstance(node.target, nodes.Name) else list(node.target.find_all(nodes.Name))
        node.body[:0] = [_marking("mark item", nodes.Name(name.name, "load"), number) for name in names]
        return [node, _marking("mark end", nodes.Const(None), number)]

    def visit_Assign(self, node: nodes.Assign) -> nodes.Assign:  # noqa: N802
        self.generic_visit(node)
        node.node = _filtered(node.node, "keep value")
        return node

    def visit_With(self, node: nodes.With) -> nodes.With:  # noqa: N802
        self.generic_visit(node)
        node.values = [_filtered(value, "keep value") for value in node.values]
        return node

    def visit_If(self, node: nodes.If) -> nodes.If:  # noqa: N802
        sums = (nodes.Concat, nodes.Add)
        if isinstance(node.test, sums) or any(node.test.find_all(sums)):
            node.test = _filtered(node.test, "count text")
        self.generic_visit(node)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        for other in node.ops:
            if not isinstance(other.expr, (nodes.Const, nodes.List, nodes.Tuple)):
                other.expr = _filtered(other.expr, "count text")
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Test:  # noqa: N802
        self.generic_visit(node)
        node.args = [_filtered(argument, "count text") for argument in node.args]
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filtered(node.node, "count text")
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        self.generic_visit(node)
        if self.aside:
            texts = (nodes.Const(part.data) if isinstance(part, nodes.TemplateData) else part for part in node.nodes)
            node.nodes = [_filtered(part, "count text") for part in texts]
        return node

    def visit_Macro(self, node: nodes.Stmt) -> nodes.Stmt:  # noqa: N802
        self.aside += 1
        self.generic_visit(node)
        self.aside -= 1
        return node

    visit_CallBlock = visit_FilterBlock = visit_AssignBlock = visit_Macro  # noqa: N815


def _marking(name: str, item: nodes.Expr, loop: int) -> nodes.Output:
    return nodes.Output([_filtered(item, name, nodes.Const(loop))])


def _filtered(value: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, value), name, list(arguments), [], None, None)
