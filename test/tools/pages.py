"""Pages that stand alone: read, and checked for open tags and for what is fetched from outside."""
import html.parser
import re

from cases import Failed, expect


class Page(html.parser.HTMLParser):
    """Whether tags are balanced, what is named, and what is fetched from outside."""
    VOID = {"meta", "br", "img", "link", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.problems, self.texts, self.tags = [], [], [], {}

    def handle_starttag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)
        self.problems += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "xlink:href", "onload") or "url(" in (value or "")]

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] = self.tags.get(tag, 0) + 1

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}>")

    def handle_data(self, data):
        self.texts.append(data)


def read_page(path):
    page = Page()
    text = path.read_text(encoding="utf-8")
    page.feed(text)
    expect("tags left open, or things from outside", ([], []), (page.open, page.problems))
    for outside in ("http:", "https:", "<script", "@import", "url("):
        if outside in text:
            raise Failed(f"expected a page without {outside}")
    if re.search(r"\b(nan|inf)\b", re.sub(r"<style>.*?</style>|<title>.*?</title>", "", text, flags=re.S), re.I):
        raise Failed("expected finite coordinates")
    return page, " ".join(page.texts)
