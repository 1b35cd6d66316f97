"""Pascal VOC XML (entities, encodings, depth) and YOLO text."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.kinds import pictures, source
from tests.fuzz.mutate import Rng, number, some_bytes, word

told = source.told
VOC = """<annotation><filename>{name}</filename><path>/data/{name}</path>
<size><width>{width}</width><height>{height}</height><depth>1</depth></size>
<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>
{more}</annotation>"""
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]><annotation><object><name>&a9;</name></object></annotation>"
)
OUTSIDE = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "{place}">]><annotation><object><name>&x;</name></object></annotation>',
    '<!DOCTYPE a SYSTEM "{place}"><annotation/>',
    '<!DOCTYPE a [<!ENTITY % x SYSTEM "{place}"> %x;]><annotation/>',
)


def voc(rng: Rng) -> bytes:
    """An annotation, sound or not."""
    told: dict[str, object] = {"name": "a.png", "width": 48, "height": 48, "label": "stenosis", "more": ""}
    told |= {"x0": 5, "y0": 6, "x1": 25, "y1": 36}
    if rng.sound:
        return VOC.format(**told).encode()
    for _ in range(rng.choice((0, 1, 2, 4))):
        told[rng.choice(tuple(told))] = rng.choice((number(rng, 20), word(rng), "<x/>", "&amp;", "&lt;b&gt;"))
    if rng.random() < 0.1:
        told["more"] = rng.choice(("<a>" * 20_000 + "</a>" * 20_000, "<object/>" * 2000, "<!-- -- -->", "<![CDATA[]]>"))
    text = VOC.format(**told)
    if rng.random() < 0.15:
        place = rng.choice(("/etc/passwd", "file:///etc/passwd", "../../../../etc/hostname", "http://127.0.0.1:9/x"))
        text = rng.choice((LAUGHS, rng.choice(OUTSIDE).format(place=place), LAUGHS.replace("!DOCTYPE", "!doctype")))
    if rng.random() < 0.15:
        code = rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "cp1252", "utf-8-sig"))
        head = f'<?xml version="1.0" encoding="{rng.choice((code, "UTF-16", "rot13", "idna", "x"))}"?>'
        body = text.removeprefix('<?xml version="1.0"?>')
        return (rng.choice(("", head)) + body).encode(code, "replace")
    data = text.encode("utf-8", "replace")
    return some_bytes(rng, data) if rng.random() < 0.4 else data


def yolo(rng: Rng) -> bytes:
    """Label lines, sound or not."""
    if rng.sound:
        return b"0 0.5 0.5 0.4 0.3\n1 0.3 0.3 0.2 0.2\n"
    lines = []
    for _ in range(rng.choice((0, 1, 2, 5, 3000))):
        words = ["0", "0.5", "0.5", "0.4", "0.3"]
        for _ in range(rng.choice((0, 1, 2))):
            words[rng.randrange(len(words))] = str(rng.choice((number(rng, 0.5), word(rng), "١", "²", "1_0", "0x1")))
        lines.append(" ".join(words[: rng.choice((5, 5, 5, 4, 0))]))
    data = rng.choice(("\n", "\n", "\r", "\u2028")).join(lines).encode("utf-8", "replace")
    return some_bytes(rng, data) if rng.random() < 0.4 else data


def build(rng: Rng, folder: Path) -> None:
    """Two pictures with labels, in one folder or in two."""
    kind = rng.pick("voc", "yolo")
    ending, make = ("xml", voc) if kind == "voc" else ("txt", yolo)
    images, labels = (folder, folder) if rng.pick(True, False) else (folder / "images", folder / "labels")
    if kind == "voc" and labels != folder:
        labels = folder / "Annotations"
    for place in (images, labels):
        place.mkdir(exist_ok=True)
    for name in ("a", rng.pick("b", "b", "A", "a.b", " ", "..b")):
        png = pictures.picture(rng, "png")
        (images / f"{name}.png").write_bytes(pictures.spoil(rng, png, "png") if rng.chance(0.1) else png)
        (labels / f"{name}.{ending}").write_bytes(make(rng))
        source.odd_files(rng, labels, f"{name}.{ending}")
    if rng.chance(0.05):
        (labels / "classes.txt").write_text(rng.choice(("dog\nstenosis\n", "0 1 2 3 4", "")))


def run(rng: Rng, folder: Path) -> list[str]:
    """Read them as what they are, seldom as the other."""
    is_voc = any(folder.rglob("*.xml"))
    scheme = "voc" if is_voc != rng.chance(0.03) else "yolo"
    subject = {"subject": rng.choice(("^a", "(a+)+$", "["))} if rng.chance(0.05) else {}
    return source.read(rng, folder, f"{scheme}:{folder}", **subject)
