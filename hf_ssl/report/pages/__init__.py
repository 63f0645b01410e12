"""HTML pages that are one file: no network, no server, and nothing in them can run or load but what is ours.

assemble.py          a page from the template, styles and scripts of a package
svg.py               pieces of pictures as inline SVG
base.css, base.js    what all pages share: colors of both themes, tables that sort
"""
