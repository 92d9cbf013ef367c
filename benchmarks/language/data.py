"""A text as numbers of characters, in three parts one after the other."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import torch
from torch import Tensor

FILE = "tinyshakespeare.txt"
TRAIN, VALIDATION = 0.9, 0.05
"""Parts of the text from its beginning; the rest is the test part."""


class MissingText(FileNotFoundError):
    """There is no text that could be learnt; the message says what to give."""


@dataclass(frozen=True)
class Text:
    """A text, split.

    Args:
        name: where it comes from, as tables show it.
        alphabet: its different characters, in order; token i is character i.
        train: tokens `(n,)` of the first 90 %.
        validation: of the next 5 %.
        test: of the last 5 %.
    """

    name: str
    alphabet: str
    train: Tensor
    validation: Tensor
    test: Tensor

    @classmethod
    def of(cls, name: str, text: str) -> "Text":
        """Number the characters and split."""
        alphabet = "".join(sorted(set(text)))
        number = {character: token for token, character in enumerate(alphabet)}
        tokens = torch.tensor([number[character] for character in text])
        first, second = int(TRAIN * len(tokens)), int((TRAIN + VALIDATION) * len(tokens))
        return cls(name, alphabet, tokens[:first], tokens[first:second], tokens[second:])

    def characters(self, tokens: Tensor) -> str:
        """What tokens `(n,)` say."""
        return "".join(self.alphabet[token] for token in tokens.tolist())


def read(folder: Path) -> Text:
    """The text in `folder`, named with the beginning of its SHA-256."""
    file = folder / FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise MissingText(
            f"There is no {FILE} in {folder} ({error.strerror}): put any text there under this name. The usual one is "
            "data/tinyshakespeare/input.txt of the repository karpathy/char-rnn."
        ) from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise MissingText(f"{file} must be text in UTF-8, but is not ({error}): save it in UTF-8.") from None
    return Text.of(f"{file.stem} ({sha256(content).hexdigest()[:8]})", text)


def synthetic(length: int = 40_000, seed: int = 0) -> Text:
    """Sentences of invented words in a fixed order of their kinds: something to learn, for tests; it is no language."""
    random = Random(seed)
    syllables = [consonant + vowel for consonant in "bdklmnrst" for vowel in "aeiou"]
    kinds = [["".join(random.choices(syllables, k=2 + kind)) + ending for _ in range(20)] for kind, ending in _ENDINGS]
    parts = []
    while sum(map(len, parts)) < length:
        parts.append(" ".join(random.choice(kind) for kind in kinds).capitalize() + ".\n")
    return Text.of("synthetic", "".join(parts)[:length])


_ENDINGS = ((0, "o"), (1, "s"), (0, "ing"), (2, "um"))
"""How many syllables a kind of words has beyond two, and how it ends."""
