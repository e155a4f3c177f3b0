"""XGLUE's eight understanding tasks in a few rows each, with every trap its files hold or may hold.

Written by hand in the original formats; all languages are there. `write` puts some of it into a
folder, `pack` makes the .tar.gz.
"""

import io
import tarfile
from pathlib import Path

TOP = "xglue_full_dataset"
BOM = b"\xef\xbb\xbf"
LANGUAGES = {
    "XNLI": "en ar bg de el es fr hi ru sw th tr ur vi zh",
    "NC": "en de es fr ru",
    "NER": "en de es nl",
    "PAWSX": "en de es fr",
    "POS": "en pl ar ru bg de el es fr hi it nl pt th tr ur vi zh",
    "QAM": "en de fr",
    "QADSM": "en de fr",
    "WPR": "en de es fr it pt zh",
}
CATEGORIES = "foodanddrink sports travel finance lifestyle news entertainment health video autos"


def _rows(*rows: str, end: str = "\n") -> bytes:
    return ("\n".join(rows) + end).encode()


def _xnli() -> dict[str, bytes]:
    files = {
        "multinli.train.en.tsv": _rows(
            "premise\thypo\tlabel",
            'He said " and never closed it .\tA quote " here .\tcontradictory',
            "one\u2028two\u0085three\x0bfour\x1cfive\tlone \r return\tneutral",
            "\tan empty premise\tentailment",
            end="",  # the last line has no newline
        ),
        "xnli.dev.tsv": b"all languages in one file, which is not read",
    }
    for language in LANGUAGES["XNLI"].split():
        files[f"{language}.dev"] = _rows(
            f"{language} one\ttwo\tneutral", "NA\tnull\tcontradiction", end="\r\n"
        )
        files[f"{language}.test"] = BOM + _rows(f"{language} \t two \tentailment")
    return files


def _pawsx() -> dict[str, bytes]:
    header = "id\tsentence1\tsentence2\tlabel"
    files = {
        "en/train.tsv": _rows(header, '1\t`` a " b\tc\t0', "2\t\t\t1"),
        "de/translated_train.tsv": _rows(header, "1\tnicht\tbenutzt\t0"),
    }
    for language in LANGUAGES["PAWSX"].split():
        for split in ("dev", "test"):
            row = f"1\t{language} {split}\tzwei\t1"
            files[f"{language}/{split}_2k.tsv"] = _rows(header, row, "2\t x\ty \t0", end="")
    return files


def _plain(folder: str, train: bytes, row: str, labels: tuple[str, ...]) -> dict[str, bytes]:
    prefix = f"xglue.{folder.lower()}"
    files = {f"{prefix}.en.train": train}
    for language in LANGUAGES[folder].split():
        for split in ("dev", "test"):
            lines = [f"{row.format(f'{language} {split}')}\t{label}" for label in labels]
            files[f"{prefix}.{language}.{split}"] = _rows(*lines)
    return files


def _wpr() -> dict[str, bytes]:
    files = _plain("WPR", _rows(*(f"q\tt\ts\t{grade}" for grade in "01234")), "{}\tt\ts", ("2",))
    files["xglue.wpr.pt.test"] = _rows(
        "one row alone\ttitle\tsnippet ...\t4",
        "all zero\ta\tb\t0",
        "all zero\tc\td\t0",
        "ties\ta\tb\t3",
        "ties\ta\tb\t3",
        "ties\tc\td\t0",
        "one row alone\tagain, later\te\t1",
    )
    return files


def _sentences(*sentences: str, end: str = "\n") -> bytes:
    """Each "word tag word tag"; blank lines between them."""
    blocks = []
    for sentence in sentences:
        fields = sentence.split(" ")
        blocks.append("\n".join(f"{w} {t}" for w, t in zip(fields[::2], fields[1::2], strict=True)))
    return ("\n\n".join(blocks) + end).encode()


def _ner() -> dict[str, bytes]:
    """IOB1 in English and German, where B- only stands between neighbours; IOB2 in the others."""
    files = {
        "en.train": b"-DOCSTART- O\n\n"
        + _sentences("EU I-ORG rejects O German I-MISC call O", "Peter I-PER Bonn I-LOC Rom B-LOC"),
        "labels.txt": b"B-LOC\nB-MISC\n",
    }
    iob1 = _sentences("Anna I-PER Berg I-PER Ulm I-LOC", "in O Bonn I-LOC")
    iob2 = _sentences(
        "Paulo I-LOC ( O Brasil B-LOC )  O".replace("  ", " "), "La B-ORG Caixa I-ORG"
    )
    for language in LANGUAGES["NER"].split():
        for split in ("dev", "test"):
            files[f"{language}.{split}"] = iob1 if language in ("en", "de") else iob2
    return files


def _pos() -> dict[str, bytes]:
    """No blank line behind the last sentence."""
    files = {
        "en.train": _sentences(
            "From ADP the DET AP PROPN", "_ DET _ NOUN _ PUNCT", "_ PUNCT well INTJ", end=""
        )
    }
    for language in LANGUAGES["POS"].split():
        for split in ("dev", "test"):
            last = "1\u00a0000 NUM 2 NUM"  # the space in the number is no separator
            files[f"{language}.{split}"] = _sentences(f"{language} X", last, end="")
    return files


FILES: dict[str, dict[str, bytes]] = {
    "XNLI": _xnli(),
    "PAWSX": _pawsx(),
    "NER": _ner(),
    "POS": _pos(),
    "WPR": _wpr(),
    "NC": _plain(
        "NC",
        _rows(*(f'A "title {c}\tBody, \u2028 of {c} \t{c}' for c in CATEGORIES.split())),
        "{}\tbody",
        ("autos", "news"),
    ),
    "QAM": _plain("QAM", _rows("who ?\t  he  \t1", "\tno question\t0"), "{}\ta  ", ("1", "0")),
    "QADSM": _plain(
        "QADSM",
        _rows('shoes\tBuy "shoes\tcheap ...\tGood', "cars\t\t\tBad"),
        "{}\tt\td",
        ("Bad", "Good"),
    ),
}


def write(root: Path, *folders: str, top: str = TOP) -> Path:
    """Write the folders (all without any) under `root/top`; returns that folder."""
    for folder in folders or FILES:
        for name, content in FILES[folder].items():
            path = root / top / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root / top


def notes(data) -> tuple[str, ...]:
    """What is logged of a data set, but for the sizes of files: XGLUE's are a bit longer."""
    return tuple(note for note in data.notes if ", and XGLUE's " not in note)


def pack(path: Path, *folders: str, top: str = f"{TOP}/", also: tuple = ()) -> Path:
    """Write an archive with the folders; `also` are (TarInfo, content) put before them."""
    with tarfile.open(path, "w:gz") as archive:
        for member, content in also:
            archive.addfile(member, io.BytesIO(content))
        for folder in folders or FILES:
            for name, content in FILES[folder].items():
                member = tarfile.TarInfo(f"{top}{folder}/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path
