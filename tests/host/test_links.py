"""The documents: every link within the repository leads to a file and a heading that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("firmware/*.md")]


def without_code(text):
    """Return the text without its fenced blocks, in which a line may begin with a #."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def anchors(document):
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(document.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links():
    """Return each link within the repository: the document with the link, and the link's target."""
    for document in DOCUMENTS:
        text = re.sub(r"`[^`\n]*`", "", without_code(document.read_text()))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in target:
                yield pytest.param(document, target, id=f"{document.name}:{target}")


@pytest.mark.parametrize(("document", "target"), list(links()))
def test_the_link_leads_somewhere(document, target):
    path, _, anchor = target.partition("#")
    found = (document.parent / path).resolve() if path else document
    assert found.exists()
    if anchor:
        assert anchor in anchors(found)


def test_all_documents_are_checked():
    assert {"README.md", "SPEC.md", "APPLICATION.md", "CONTRIBUTING.md"} <= {
        document.name for document in DOCUMENTS
    }
