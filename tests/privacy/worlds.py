"""A folder for every kind of source, each named after a patient, its files full of canaries, good ones and bad."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from tests.privacy.canaries import Canaries
from tests.privacy.dicoms import DICTIONARY, EDGE, ct_series, frames, spoil, stuffed

Source = dict[str, Any]  # as a recipe has it


def sources(folder: Path, canaries: Canaries) -> list[Source]:
    """All of them."""
    kinds = (dicom, masks, voc, yolo, arcade, imagecas, nifti, ct, ctdicom)
    return [
        {"uri": f"{scheme}:{place}", "options": options, "split": {"train": 1}}
        for scheme, place, options in (kind(folder, canaries) for kind in kinds)
    ]


def named(folder: Path, canaries: Canaries, kind: str) -> Path:
    """A folder as a hospital calls it: surname, first name, birthday."""
    return folder / f"{_name(canaries, f'folder of {kind}')}_{canaries.of('DA', f'folder of {kind}')}"


def dicom(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    place = named(folder, canaries, "dicom")

    def path() -> Path:
        return place / canaries.text("study folder") / f"{_name(canaries, 'DICOM file name')}.dcm"

    stuffed(path(), canaries, DICTIONARY, seed=0)
    stuffed(path(), canaries, seed=1, BurnedInAnnotation="YES")
    stuffed(path(), canaries, seed=2, jpeg=True)
    cut = stuffed(path(), canaries, seed=3)
    cut.write_bytes(cut.read_bytes()[:-9000])
    stuffed(path(), canaries, seed=4, Modality=canaries.text("Modality", upper=True))
    angle = stuffed(path(), canaries, seed=5, PositionerPrimaryAngle="-31.2525252")
    spoil(angle, b"-31.2525252", canaries.text("a number"))
    far = stuffed(path(), canaries, seed=6, DistanceSourceToDetector="1000.0000000")
    spoil(far, b"1000.0000000", canaries.text("a number"))
    syntax = stuffed(path(), canaries, seed=7)
    spoil(syntax, b"1.2.840.10008.1.2.1\0", f"1.2.{canaries.text('transfer syntax')}")
    stuffed(path(), canaries, seed=8, Rows=None)
    return "dicom", place, {}


def masks(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    place = named(folder, canaries, "masks")
    place.mkdir(parents=True)
    for seed in range(3):
        name = _name(canaries, "picture name")
        (place / f"{name}.png").write_bytes(_png(frames(1, seed)[0], canaries))
        (place / f"{name}_gt.png").write_bytes(_png(_mask(), canaries))
    name = _name(canaries, "picture name")
    told = canaries.text("PGM header")
    (place / f"{name}.pgm").write_bytes(f"P5\n# {told}\n{told} 128\n255\n".encode() + bytes(EDGE * EDGE))
    (place / f"{name}_gt.png").write_bytes(_png(_mask(), canaries))
    name = _name(canaries, "picture name")
    (place / f"{name}.png").write_bytes(_png(frames(1, 5)[0], canaries)[:900])
    (place / f"{name}_gt.png").write_bytes(_png(_mask(), canaries))
    name = _name(canaries, "picture name")
    (place / f"{name}.png").symlink_to(place / f"{_name(canaries, 'link')}.png")
    (place / f"{name}_gt.png").write_bytes(_png(_mask(), canaries))
    return "masks", place, {}


def voc(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    place = named(folder, canaries, "voc")
    place.mkdir(parents=True)
    entity = canaries.text("VOC entity")
    bad = canaries.text("VOC number")
    faults = {0: {}, 1: {"label": canaries.text("VOC class")}, 2: {"xmin": bad}, 3: {"tail": f"&{entity};"}, 4: {}}
    for seed, fault in faults.items():
        name = _name(canaries, "picture name")
        image = Image.fromarray(frames(1, seed)[0])
        if seed == 4:  # writing in the pixels
            ImageDraw.Draw(image).text((4, 4), "DOE^JANE 1960", fill=255)
        if seed:
            exif = image.getexif()
            for tag in (0x010E, 0x013B, 0x8298, 0x9C9B):  # description, artist, copyright, Windows' title
                exif[tag] = canaries.text("EXIF")
            image.save(place / f"{name}.jpg", quality=95, exif=exif, comment=canaries.text("JPEG comment").encode())
        else:
            image.save(place / f"{name}.tif", description=canaries.text("TIFF"), software=canaries.text("TIFF"))
        (place / f"{name}.xml").write_text(
            f"<annotation><folder>{canaries.text('VOC')}</folder><filename>{canaries.text('VOC')}</filename>"
            f"<path>/home/{canaries.text('VOC')}/x.jpg</path><source><annotation>{canaries.text('VOC')}</annotation>"
            f"</source><owner>{canaries.text('VOC')}</owner><size><width>{EDGE}</width><height>{EDGE}</height></size>"
            f"<object><name>{fault.get('label', 'Stenosis')}</name><pose>{canaries.text('VOC')}</pose><bndbox>"
            f"<xmin>{fault.get('xmin', 40)}</xmin><ymin>40</ymin><xmax>60</xmax><ymax>60</ymax></bndbox></object>"
            f"{fault.get('tail', '')}</annotation>"
        )
    return "voc", place, {"subject": "^Zqxj[0-9]+"}


def yolo(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    place = named(folder, canaries, "yolo")
    (place / "images").mkdir(parents=True)
    (place / "labels").mkdir()
    lines = ("0 0.4 0.4 0.2 0.2", f"0 0.4 {canaries.text('YOLO')} 0.2 0.2", canaries.text("YOLO"), "13130 .4 .4 .2 .2")
    for seed, line in enumerate(lines):
        name = _name(canaries, "picture name")
        (place / "images" / f"{name}.png").write_bytes(_png(frames(1, seed + 10)[0], canaries))
        (place / "labels" / f"{name}.txt").write_text(line + "\n")
    (place / "labels" / f"{_name(canaries, 'label without picture')}.txt").write_text(lines[0])
    return "yolo", place, {}


def arcade(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    """Its layout names pictures by number; the folder, the annotation file and the pictures can hold names."""
    place = named(folder, canaries, "arcade")
    part = place / "stenosis" / "train"
    (part / "images").mkdir(parents=True)
    (part / "annotations").mkdir()
    names = ["stenosis", canaries.text("COCO category")]
    categories = [{"id": n, "name": name, "supercategory": canaries.text("COCO")} for n, name in enumerate(names)]
    images, annotations = [], []
    for n in range(5):
        (part / "images" / f"{n + 1}.png").write_bytes(_png(frames(1, 20 + 7 * n)[0][:, :: 1 - 2 * (n % 2)], canaries))
        images.append({"id": n, "file_name": f"{n + 1}.png", "patient": canaries.text("COCO"), "width": EDGE})
        annotations.append({"id": n, "image_id": n, "category_id": 0, "bbox": [40, 40, 20, 20], "segmentation": []})
        annotations[-1]["attributes"] = {"occluded": False, "reader": canaries.text("COCO")}
    annotations[1]["category_id"] = 1
    annotations[2]["category_id"] = canaries.text("COCO category number")
    annotations[3]["bbox"] = canaries.text("COCO bbox")
    body = {"images": images, "annotations": annotations, "categories": categories}
    body |= {"info": {"contributor": canaries.text("COCO")}, "licenses": [{"name": canaries.text("COCO")}]}
    (part / "annotations" / "train.json").write_text(json.dumps(body))
    return "arcade", place, {"require": "any"}


def imagecas(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    return "imagecas", _labels(folder, canaries, "imagecas", ".label.nii.gz"), {}


def nifti(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    return "nifti", _labels(folder, canaries, "nifti", ".nii.gz"), {"sides": ["left"]}


def ct(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    """Images with label maps of the same name."""
    place = named(folder, canaries, "ct")
    place.mkdir(parents=True)
    rng = np.random.default_rng(4)
    for n in range(4):
        name = _name(canaries, "volume name")
        hu = rng.integers(-100, 200, (24, 24, 12)).astype(np.int16)
        label = np.zeros(hu.shape, np.uint8)
        label[4:20, 4:20, 3:9] = 1
        (place / f"{name}.nii.gz").write_bytes(_packed(_nifti(hu, canaries), canaries, broken=n == 3))
        spoilt = _nifti(label, canaries) if n != 2 else canaries.text("no NIfTI").encode() * 50
        (place / f"{name}_seg.nii.gz").write_bytes(_packed(spoilt, canaries))
    return "ct", place, {"layout": "pair", "legend": {1: "liver"}}


def ctdicom(folder: Path, canaries: Canaries) -> tuple[str, Path, dict[str, Any]]:
    """Series of slices with an NRRD mask beside them; one lacks slices, one has text where a number belongs."""
    place = named(folder, canaries, "ctdicom")

    def name() -> str:
        return _name(canaries, "DICOM file name")

    homes = [place / canaries.text("study folder") for _ in range(4)]
    for n, home in enumerate(homes):
        ct_series(home, canaries, name, slices=6 if n != 1 else 2)
    spoil(next(homes[2].glob("*.dcm")), b"-1024 ", canaries.text("a number"))
    for home, kind in ((homes[0], "uint8"), (homes[3], canaries.text("NRRD type"))):
        header = (
            f"NRRD0004\n# {canaries.text('NRRD')}\ntype: {kind}\ndimension: 3\nspace: left-posterior-superior\n"
            f"sizes: 24 24 6\nspace directions: (2,0,0) (0,2,0) (0,0,3)\nencoding: raw\nspace origin: (0,0,0)\n"
            f"content: {canaries.text('NRRD')}\npatient:={canaries.text('NRRD')}\n\n"
        )
        (home / f"{name()} liver.nrrd").write_bytes(header.encode() + bytes([0, 1]) * (24 * 24 * 3))
    return "ctdicom", place, {"masks": {"*liver": "liver"}}


def _labels(folder: Path, canaries: Canaries, kind: str, ending: str) -> Path:
    """NIfTI labels whose free texts (descrip, aux_file, intent_name, db_name, extensions) are canaries."""
    place = named(folder, canaries, kind)
    place.mkdir(parents=True)
    label = np.zeros((64, 24, 24), np.uint8)
    label[4:20, 4:10, 4:20] = label[44:60, 4:10, 4:20] = 1
    for n in range(4):
        spoilt = label.copy()
        spoilt[30, 20, 20] = 2 if n == 1 else 0
        data = _nifti(spoilt, canaries) if n != 2 else canaries.text("no NIfTI").encode() * 50
        name = _name(canaries, "label name")
        (place / f"{name}{ending}").write_bytes(_packed(data, canaries, broken=n == 3))
    return place


def _nifti(values: np.ndarray, canaries: Canaries) -> bytes:
    """A NIfTI file whose free texts are canaries."""
    image = nib.Nifti1Image(values, np.diag([1.0, 1.0, 1.0, 1.0]))
    for field in ("descrip", "aux_file", "intent_name", "db_name"):
        image.header[field] = canaries.text(f"NIfTI {field}").encode()
    text = canaries.text("NIfTI extension").encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text))
    return image.to_bytes()


def _packed(data: bytes, canaries: Canaries, broken: bool = False) -> bytes:
    """Gzipped under a name; ``broken``: cut in half."""
    out = io.BytesIO()
    with gzip.GzipFile(canaries.text("gzip name"), "wb", fileobj=out, mtime=0) as file:
        file.write(data)
    whole = out.getvalue()
    return whole[: len(whole) // 2] if broken else whole


def _mask() -> np.ndarray:
    mask = np.zeros((EDGE, EDGE), np.uint8)
    mask[20:110, 60:66] = 255
    return mask


def _name(canaries: Canaries, where: str) -> str:
    """``DOE^JANE_19600101``."""
    family, given = canaries.text(where), canaries.text(where)
    return f"{canaries.know(f'{family}^{given}', where)}_{canaries.of('DA', where)}"


def _png(image: np.ndarray, canaries: Canaries) -> bytes:
    """A PNG with texts in every way that it can hold them."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", canaries.text("PNG tEXt"))
    info.add_text("Author", canaries.text("PNG zTXt"), zip=True)
    info.add_itxt("Description", canaries.text("PNG iTXt"), "en", canaries.text("PNG iTXt"), zip=True)
    info.add(b"prVt", canaries.text("private PNG chunk").encode())
    exif = Image.Exif()
    exif[0x013B] = canaries.text("PNG EXIF")
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", pnginfo=info, exif=exif)
    return out.getvalue()
