"""The page of `mixc sample`: one file without scripts, that reads nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

import jinja2
from markupsafe import Markup

from runtime.looking.look import Looked
from runtime.looking.tokens import by_side


def render(looked: Looked) -> str:
    """The whole page. All that comes from specs and data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("runtime.looking", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((files("runtime.report") / "page" / "report.css").read_text())
    return environment.get_template("sample.html.jinja").render(looked=looked, style=style, by_side=by_side)
