"""Sphinx's configuration of the steward site; stewardship.site.build copies it beside the pages with ``site.json``."""

import json
from pathlib import Path

HERE = Path(__file__).parent
site = json.loads((HERE / "site.json").read_text())

project = html_title = site["title"]
author = "Calanque"
language = site["language"]
extensions = ["myst_parser"]
exclude_patterns = ["theme", "static"]
suppress_warnings = ["myst.header", "misc.highlighting_failure"]

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
templates_path = ["theme"]
html_context = {"site": site}
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_search_summary = False  # would fetch every page that is found, which file:// refuses
html_use_index = False
html_domain_indices = False
html_theme_options: dict[str, list[str]] = {"top_of_page_buttons": []}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
