"""Where in a TOML text a key stands: tomllib gives values without their lines."""

import re
from itertools import count

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"[ \t]*(?:\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([\w-]+))[ \t]*")
_TEXT = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_PLAIN = re.compile(r"[^,\]}#\n]*")


def line_of(text: str, key: str) -> int:
    """The line, from 1, of a key such as ``surfaces.feed.bounds[0].of`` in a text that tomllib reads.

    Where the key itself is not written, that of the table it should stand in; 0 where that is not either.
    """
    places = _Places(text).found
    while key:
        if key in places:
            return text.count("\n", 0, places[key]) + 1
        key = key[: max(key.rfind("."), key.rfind("["), 0)]
    return 0


class _Places:
    """The offset of every key of a text; an array's elements are called ``key[0]``, ``key[1]`` and so on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[str, int] = {}
        self._tables: dict[str, int] = {}
        table = ""
        while self._skip() < len(text):
            if text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self) -> int:
        self.at = _end(_BLANK.match(self.text, self.at), self.at)
        return self.at

    def _header(self) -> str:
        begun, many = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        *above, last = self._path()
        self.at += 2 if many else 1
        # A table within an array of tables belongs to its last element.
        name = ""
        for part in above:
            name = self._element(f"{name}.{part}".lstrip("."))
        name = f"{name}.{last}".lstrip(".")
        if many:
            self._tables[name] = self._tables.get(name, -1) + 1
            self.found.setdefault(name, begun)
            name = self._element(name)
        self.found.setdefault(name, begun)
        return name

    def _element(self, name: str) -> str:
        return f"{name}[{self._tables[name]}]" if name in self._tables else name

    def _path(self) -> list[str]:
        parts: list[str] = []
        while found := _KEY.match(self.text, self.at):
            parts.append(next(part for part in found.groups() if part is not None))
            self.at = found.end()
            if not self.text.startswith(".", self.at):
                break
            self.at += 1
        return parts

    def _pair(self, table: str) -> None:
        begun, name = self.at, table
        for part in self._path():
            name = f"{name}.{part}".lstrip(".")
            self.found.setdefault(name, begun)
        # Past the "=".
        self.at += 1
        self._value(name)

    def _value(self, name: str) -> None:
        self._skip()
        opened = self.text[self.at : self.at + 1]
        if opened in ("[", "{") and opened:
            self.at += 1
            for number in count():
                if self._skip() >= len(self.text) or self.text[self.at] in "]}":
                    break
                if opened == "[":
                    self.found[f"{name}[{number}]"] = self.at
                    self._value(f"{name}[{number}]")
                else:
                    self._pair(name)
                if self._skip() < len(self.text) and self.text[self.at] == ",":
                    self.at += 1
            self.at += 1
        else:
            self.at = _end(_TEXT.match(self.text, self.at) or _PLAIN.match(self.text, self.at), self.at)


def _end(found: re.Match[str] | None, otherwise: int) -> int:
    return found.end() if found else otherwise
