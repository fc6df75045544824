"""A page of a report as a reader of its HTML sees it."""

import html
import html.parser


class Page(html.parser.HTMLParser):
    """What a page shows, and what it asks for."""

    def __init__(self, path):
        super().__init__()
        self.text, self.images, self.addresses, self.open = "", [], [], []
        self.tables, self.policy = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "img":
            self.images.append((attributes["alt"], attributes["src"]))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def table(self, *headers):
        """The rows of the table with these first headers."""
        (found,) = [rows for rows in self.tables if tuple(rows[0][: len(headers)]) == headers]
        return found[1:]
