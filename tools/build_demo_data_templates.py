"""The sentence templates of Home Assistant: parse them, and draw utterances from them.

The language: ``[optional] (one|of) (any;order) <rule> {list:slot} plain text``.
"""

import random
import re
from collections.abc import Callable

Node = tuple
Span = tuple[int, int, str]

TOKEN = re.compile(r"\\.|[\[\]()|;]|<[^<>]+>|\{[^{}]+\}|[^\[\]()|;<>{}\\]+")


def parse(text: str) -> Node:
    """Return the tree: nodes (kind, argument), kind one of alt perm opt rule list text."""
    tokens = TOKEN.findall(text)
    position = 0

    def alternatives(close: str | None) -> Node:
        nonlocal position
        options: list[list[Node]] = [[]]
        separators = set()
        while position < len(tokens):
            token = tokens[position]
            position += 1
            if token == close:
                break
            if token == "[":
                options[-1].append(("opt", alternatives("]")))
            elif token == "(":
                options[-1].append(alternatives(")"))
            elif token in ("|", ";"):
                separators.add(token)
                options.append([])
            elif token[0] == "<" and len(token) > 2:
                options[-1].append(("rule", token[1:-1]))
            elif token[0] == "{" and len(token) > 2:
                options[-1].append(("list", token[1:-1]))
            else:
                options[-1].append(("text", token[1:] if token[0] == "\\" else token))
        return ("perm" if ";" in separators else "alt", options)

    return alternatives(None)


class Sampler:
    """Draws utterances of one language, with the spans of the slots they fill."""

    def __init__(self, data: dict, fill: Callable[[str], list[str]], rng: random.Random):
        self.rules = dict(data.get("expansion_rules", {}))
        self.lists = dict(data.get("lists", {}))
        self.fill = fill
        self.rng = rng
        self.trees: dict[str, Node] = {}

    def sample(self, template: str, block: dict) -> tuple[str, list[Span]]:
        """Return (text, spans); raises KeyError, IndexError or ValueError for a broken template."""
        self.local_rules = block.get("expansion_rules", {})
        self.local_lists = block.get("lists", {})
        self.out = ""
        self.spans: list[Span] = []
        self._emit(self._tree(template), 0)
        return self.out, self.spans

    def _tree(self, text: str) -> Node:
        if text not in self.trees:
            self.trees[text] = parse(text)
        return self.trees[text]

    def _emit(self, node: Node, depth: int) -> None:
        if depth > 30:
            raise ValueError("rule loop")
        kind, argument = node
        if kind == "text":
            self.out += argument
        elif kind == "alt":
            # authors put the plain wording first: ("in|on|at|across"), so draw it half of the time
            first = self.rng.random() < 0.5
            for child in argument[0] if first else self.rng.choice(argument):
                self._emit(child, depth + 1)
        elif kind == "perm":
            sequences = list(argument)
            self.rng.shuffle(sequences)
            for index, sequence in enumerate(sequences):
                if index:
                    self.out += " "
                for child in sequence:
                    self._emit(child, depth + 1)
        elif kind == "opt":
            if self.rng.random() < 0.4:
                self._emit(argument, depth + 1)
        elif kind == "rule":
            body = self.local_rules.get(argument, self.rules.get(argument))
            if body is None:
                raise KeyError("rule " + argument)
            self._emit(self._tree(body), depth + 1)
        elif kind == "list":
            name, _, slot = argument.partition(":")
            start = len(self.out)
            self._emit_value(name, depth)
            kind_of_slot = "item" if name == "timer_name" else slot or name
            self.spans.append((start, len(self.out), kind_of_slot))

    def _emit_value(self, name: str, depth: int) -> None:
        spec = self.local_lists.get(name, self.lists.get(name))
        if spec is None or spec.get("wildcard"):
            self.out += self.rng.choice(self.fill(name))
        elif "range" in spec:
            limits = spec["range"]
            values = range(limits["from"], limits["to"] + 1, limits.get("step", 1))
            said = [value for value in values if value > 0 and (value % 5 == 0 or value <= 12)]
            self.out += str(self.rng.choice(said))
        else:
            value = self.rng.choice(spec["values"])
            self._emit(self._tree(value if isinstance(value, str) else str(value["in"])), depth + 1)


def tidy(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    """Collapse blanks and move the spans with them."""
    out = ""
    moved = []
    for letter in text:
        moved.append(len(out))
        if not letter.isspace():
            out += letter
        elif out and out[-1] != " ":
            out += " "
    moved.append(len(out))
    out = out.rstrip()
    fixed = []
    for start, end, slot in spans:
        start, end = min(moved[start], len(out)), min(moved[end], len(out))
        while start < end and out[start] == " ":
            start += 1
        while end > start and out[end - 1] == " ":
            end -= 1
        if start < end:
            fixed.append((start, end, slot))
    return out, fixed
