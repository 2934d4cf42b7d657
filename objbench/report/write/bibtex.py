"""The BibTeX entries of what a report cites, under the keys that its LaTeX tables cite."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from urllib.parse import quote

from objbench.report.write.latex import escaped
from objbench.spec.published import Reference

_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u ", "\u0307": ".",
    "\u0308": '"', "\u030a": "r ", "\u030b": "H ", "\u030c": "v ", "\u0327": "c ", "\u0328": "k ",
}  # fmt: skip


def bibtex(references: Mapping[str, Reference]) -> str:
    r"""Write an entry for each reference; all signs are ASCII, as BibTeX itself wants them.

    >>> print(bibtex({"me2026": Reference(author="Müller, Eva", title="A & B", venue="ICML 2026", year=2026)}))
    @inproceedings{me2026,
      author = {M{\"u}ller, Eva},
      title = {{A \& B}},
      booktitle = {ICML 2026},
      year = {2026},
    }
    <BLANKLINE>
    """
    return "\n".join(_entry(key, reference) for key, reference in references.items())


def _entry(key: str, reference: Reference) -> str:
    fields = {
        "author": reference.author and _ascii(reference.author),
        "title": f"{{{_ascii(reference.title or reference.text)}}}",
        "booktitle": reference.venue and _ascii(reference.venue),
        "year": reference.year and str(reference.year),
        # What a brace or a backslash in an address would do to the entry, its code does not.
        "url": reference.url and quote(reference.url, safe="!#$%&'()*+,/:;=?@[]~-._"),
        # Styles that sort or label by author take this where there is none.
        "key": None if reference.author else key,
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{'inproceedings' if reference.venue else 'misc'}{{{key},", *lines, "}", ""])


def _ascii(text: str) -> str:
    return "".join(map(_sign, unicodedata.normalize("NFC", text)))


def _sign(sign: str) -> str:
    letter, *marks = list(unicodedata.normalize("NFD", sign))
    if len(marks) == 1 and letter.isascii() and marks[0] in _ACCENTS:
        return f"{{\\{_ACCENTS[marks[0]]}{letter}}}"
    shown = escaped(sign)
    return shown if shown.isascii() else _WITHOUT_ACCENT.get(sign, f"[U+{ord(sign):04X}]")


_WITHOUT_ACCENT = {
    "ß": r"{\ss}", "ø": r"{\o}", "Ø": r"{\O}", "æ": r"{\ae}", "Æ": r"{\AE}", "œ": r"{\oe}", "Œ": r"{\OE}",
    "ł": r"{\l}", "Ł": r"{\L}", "ı": r"{\i}",
}  # fmt: skip
