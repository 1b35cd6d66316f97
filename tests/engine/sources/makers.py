"""Small folders that each source can read, made of phantoms: for tests that run a source or a recipe to its end."""

import functools
import json

import nibabel as nib
import numpy as np
from PIL import Image
from skimage.measure import find_contours

from lesionforge.engine.sources.phantom import Phantom, PhantomOptions
from tests.engine.sources.test_ct_series import put as slice_of
from tests.engine.sources.test_xa import write as run_of
from tests.generators.angio_ct.toys import Toy as Arteries
from tests.generators.angio_ct.toys import ToyOptions as ArteriesOptions

PATIENTS = ("11", "12")


@functools.cache
def frames():
    """Two phantom angiograms with a stenosis each, of two patients: name and case."""
    source = Phantom("angiogram", PhantomOptions(count=2, sides=("left",), stenoses=1))
    return [(f"{patient}_1", source.read(n)) for n, patient in enumerate(PATIENTS)]


def pictures(folder, sub="", ending="png"):
    (folder / sub).mkdir(parents=True, exist_ok=True)
    for name, case in frames():
        Image.fromarray(case.image).save(folder / sub / f"{name}.{ending}")


def vessels(folder, end=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in frames():
        Image.fromarray(case.mask.astype(np.uint8) * 255).save(folder / f"{name}{end}.png")


def masks(folder):
    pictures(folder)
    vessels(folder, "_gt")


def voc(folder):
    pictures(folder, ending="bmp")
    vessels(folder / "masks")
    for name, case in frames():
        rows, cols = case.image.shape
        boxes = "".join(
            "<object><name>stenosis</name><bndbox><xmin>{:.0f}</xmin><ymin>{:.0f}</ymin><xmax>{:.0f}</xmax>"
            "<ymax>{:.0f}</ymax></bndbox></object>".format(*lesion.box)
            for lesion in case.lesions
        )
        size = f"<size><width>{cols}</width><height>{rows}</height></size>"
        (folder / f"{name}.xml").write_text(f"<annotation>{size}{boxes}</annotation>")


def yolo(folder):
    pictures(folder, "images")
    vessels(folder / "masks")
    (folder / "labels").mkdir()
    for name, case in frames():
        rows, cols = case.image.shape
        lines = [
            f"0 {(x0 + x1) / 2 / cols} {(y0 + y1) / 2 / rows} {(x1 - x0) / cols} {(y1 - y0) / rows}"
            for x0, y0, x1, y1 in (lesion.box for lesion in case.lesions)
        ]
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines))


def dicom(folder):
    vessels(folder / "masks" / "run")
    for name, case in frames():
        run_of(folder / "run" / f"{name}.dcm", pixels=case.image[None], patient=name)


def arcade(folder):
    """The flat layout: the vessel's outline as a SYNTAX segment, and no lesion."""
    (folder / "images").mkdir(parents=True)
    for task in ("stenosis", "syntax"):
        names = ("5", "12", "stenosis") if task == "syntax" else ("stenosis",)
        coco = {"images": [], "annotations": [], "categories": [{"id": n, "name": x} for n, x in enumerate(names, 1)]}
        for n, (_, case) in enumerate(frames(), 1):
            Image.fromarray(case.image).save(folder / "images" / f"stenosis_train_{n}.png")
            coco["images"].append({"id": n, "file_name": f"stenosis_train_{n}.png", "width": 512, "height": 512})
            if task == "syntax":
                outline = max(find_contours(case.mask, 0.5), key=len)[:, ::-1] + 0.5
                polygons = [outline.ravel().tolist()]
                coco["annotations"].append({"id": n, "image_id": n, "category_id": 1, "segmentation": polygons})
        (folder / f"{task}_coco.json").write_text(json.dumps(coco))


def arcade_parts(folder):
    """ARCADE's own layout, parts train and val: three frames each, a stenosis and the vessel's outline in every one."""
    source = Phantom("angiogram", PhantomOptions(count=6, sides=("left",), stenoses=1))
    for part, first in (("train", 0), ("val", 3)):
        for task, names in (("syntax", ("5", "12")), ("stenosis", ("stenosis",))):
            at = folder / task / part
            (at / "images").mkdir(parents=True)
            (at / "annotations").mkdir()
            coco = {
                "images": [],
                "annotations": [],
                "categories": [{"id": n, "name": x} for n, x in enumerate(names, 1)],
            }
            for n in range(first, first + 3):
                case = source.read(n)
                Image.fromarray(case.image).save(at / "images" / f"{n}.png")
                coco["images"].append({"id": n, "file_name": f"{n}.png", "width": 512, "height": 512})
                if task == "syntax":
                    outlines = [max(find_contours(case.mask, 0.5), key=len)[:, ::-1] + 0.5]
                else:
                    boxes = [lesion.box for lesion in case.lesions]
                    outlines = [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) for x0, y0, x1, y1 in boxes]
                for outline in outlines:
                    x0, y0 = outline.min(0).tolist()
                    width, height = np.ptp(outline, axis=0).tolist()
                    label = {"id": len(coco["annotations"]) + 1, "image_id": n, "category_id": 1}
                    label |= {"segmentation": [outline.ravel().tolist()], "bbox": [x0, y0, width, height]}
                    coco["annotations"].append(label)
            (at / "annotations" / f"{part}.json").write_text(json.dumps(coco))


def tree_label(folder, name, values=None):
    """Both trees of two subjects in one label each; ``values``: of the sides, 1 where absent."""
    source = Phantom("coronary", PhantomOptions(count=2, voxel_mm=0.6))
    folder.mkdir(parents=True, exist_ok=True)
    for subject in range(2):
        trees = [source.read(2 * subject + side) for side in range(2)]
        points = np.concatenate([tree.points for tree in trees])
        low = points.min(0)
        at = np.rint((points - low) / 0.6).astype(int)
        label = np.zeros(at.max(0) + 1, np.uint8)
        label[tuple(at.T)] = np.concatenate([np.full(len(t.points), (values or {}).get(t.side, 1)) for t in trees])
        affine = np.diag([-0.6, -0.6, 0.6, 1.0])
        affine[:3, 3] = low * [-1, -1, 1]
        nib.save(nib.Nifti1Image(label, affine), folder / name.format(subject + 1))


def imagecas(folder):
    tree_label(folder, "{}.label.nii.gz")


def imagecasx(folder):
    """Trees of phantoms as segments 1 and 9: the side is told by the segment."""
    tree_label(folder / "segmentations", "{}.coronary.nii.gz", {"left": 1, "right": 9})


def nifti(folder):
    tree_label(folder, "case{}.nii.gz")


def save(path, array, volume):
    x, y, z = volume.spacing_mm
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = np.array(volume.origin_mm) * [-1, -1, 1]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)


@functools.cache
def abdomen():
    options = PhantomOptions(count=1, shape=(140, 110, 90), spacing_mm=(2.5, 2.5, 2.5))
    return Phantom("abdomen", options).read(0)


def ct(folder):
    """The Medical Segmentation Decathlon's layout, which says what its labels mean."""
    volume = abdomen()
    save(folder / "imagesTr" / "organs_1.nii.gz", volume.hu, volume)
    save(folder / "labelsTr" / "organs_1.nii.gz", volume.labels, volume)
    labels = {"0": "background", **{str(value): name for value, name in volume.legend.items()}}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "modality": {"0": "CT"}}))


def ct_imagecas(folder):
    for n in range(2):
        volume = Arteries("", ArteriesOptions()).read(n)
        save(folder / f"{n + 1}.img.nii.gz", volume.hu, volume)
        save(folder / f"{n + 1}.label.nii.gz", (volume.labels > 0).astype(np.uint8), volume)


def ctdicom(folder):
    volume = abdomen()
    x, y, z = volume.spacing_mm
    for k in range(volume.hu.shape[2]):
        plane = volume.hu[:, :, k].T
        path = folder / f"{k}.dcm"
        ds = slice_of(
            path, Rows=plane.shape[0], Columns=plane.shape[1], BitsAllocated=16, BitsStored=16, HighBit=15,
            ImagePositionPatient=[f"{v:.6f}" for v in np.add(volume.origin_mm, (0, 0, k * z))],
            ImageOrientationPatient=["1", "0", "0", "0", "1", "0"], PixelSpacing=[str(y), str(x)],
            RescaleSlope="1", RescaleIntercept="-1024",
        )  # fmt: skip
        ds.PixelData = (plane.astype(np.int32) + 1024).clip(0).astype(np.uint16).tobytes()
        ds.save_as(path, enforce_file_format=True)
    for value, name in volume.legend.items():
        mask = (volume.labels == value).astype(np.uint8)
        origin = ",".join(str(v) for v in volume.origin_mm)
        head = (
            f"NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\n"
            f"sizes: {' '.join(map(str, mask.shape))}\nspace directions: ({x},0,0) (0,{y},0) (0,0,{z})\n"
            f"encoding: raw\nspace origin: ({origin})\n\n"
        )
        (folder / f"{name}.nrrd").write_bytes(head.encode() + mask.tobytes(order="F"))
