"""How `make docs` builds the site: the Markdown files of the repository as they are, with all links between them."""

from pbxhub import __version__

project = "pbxhub"
author = "pbxhub"
release = version = __version__
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**", "asterisk-conf/README.md", "CHANGELOG.md"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"pbxhub {__version__}"
html_show_copyright = False
html_show_sphinx = False
